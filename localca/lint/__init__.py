"""What is wrong with a certificate before anybody gets it: one table of checks, each with its source.

Sources are RFC 5280, the CA/Browser Forum's Baseline Requirements ("BR", version 2), RFC 9525, SPIFFE's X509-SVID, and,
where a private CA has needs of its own, this one.

Left out of BR, because it serves the public web: validation of domains and their policy OIDs (7.1.6), the AIA
extension (7.1.2.11.1), Certificate Transparency (7.1.2.11.3), the common name among the names (7.1.4.3), and the limit
of 398 days (6.3.2) where more was asked for. Ed25519 is allowed (RFC 8410), which BR 6.1.5 does not know.
"""
