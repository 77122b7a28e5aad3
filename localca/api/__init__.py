"""The local CA in the HTTP API."""
