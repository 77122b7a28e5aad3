"""Tests of `aegis_site.kernel.notifications`."""
