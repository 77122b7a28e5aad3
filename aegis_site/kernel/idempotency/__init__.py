"""Answers that are kept for a request that comes again."""
