"""Tells people what happened: by mail, webhook and chat."""
