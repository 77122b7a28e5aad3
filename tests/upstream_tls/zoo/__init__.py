"""Tests of upstream_tls.zoo."""
