"""Health checks in the HTTP API."""
