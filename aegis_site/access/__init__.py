"""Roles, API tokens, sessions, second factors, and limits of login attempts."""
