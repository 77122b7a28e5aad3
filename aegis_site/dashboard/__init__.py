"""The first page of the admin: whether something is wrong, what, and where to go."""
