"""Hosts and workers in the HTTP API."""
