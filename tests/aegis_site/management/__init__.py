"""Tests of the project package's commands."""
