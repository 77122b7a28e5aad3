"""Tests of hosts: models, services, publishing, admin, API."""
