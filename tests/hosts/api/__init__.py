"""Tests of hosts and workers in the HTTP API."""
