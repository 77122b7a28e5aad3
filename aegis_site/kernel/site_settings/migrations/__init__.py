"""Schema history of the site settings."""
