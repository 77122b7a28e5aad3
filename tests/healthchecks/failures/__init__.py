"""Tests of the failure inbox."""
