"""Tests of hosts.wizard."""
