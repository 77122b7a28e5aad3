"""The data plane's one Django-aware place."""
