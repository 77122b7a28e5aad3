"""Rotation of a host's client certificate in steps (docs/adr/0036)."""
