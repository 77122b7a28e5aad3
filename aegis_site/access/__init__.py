"""Roles, API tokens, and limits of login attempts."""
