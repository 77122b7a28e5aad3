"""Schema history of the idempotency."""
