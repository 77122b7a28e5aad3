"""Tests of the local CA."""
