"""Tests of its commands."""
