"""The private CA: root, issuance and trust bundle."""
