"""Tests of roles, API tokens and limits of sign-ins."""
