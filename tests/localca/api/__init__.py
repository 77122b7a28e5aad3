"""Tests of the local CA in the HTTP API."""
