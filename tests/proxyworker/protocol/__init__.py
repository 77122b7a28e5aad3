"""Tests of its HTTP."""
