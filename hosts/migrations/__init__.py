"""Schema history of the local CA."""
