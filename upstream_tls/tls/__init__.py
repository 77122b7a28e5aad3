"""Upstream TLS without Django: traffic, WebSockets, health checks and connection tests all use what is in here."""
