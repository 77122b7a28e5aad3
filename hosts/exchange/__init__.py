"""Hosts as a document: out of one installation, into another, or into the same one again."""
