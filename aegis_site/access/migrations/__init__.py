"""Schema history of the access."""
