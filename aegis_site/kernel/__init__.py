"""Shared by the apps, imports none of them: secrets at rest, errors, admin base."""
