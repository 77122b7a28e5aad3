"""Tests that take a minute each: `make soak`."""
