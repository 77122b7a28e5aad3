"""Mirrors `aegis_site.kernel.audit`."""
