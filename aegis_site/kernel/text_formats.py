"""What the texts of the API have to look like, where JSON Schema has no word for it.

Laws of this module: a format of the OpenAPI document that is not OpenAPI's own stands here; its name never changes its
meaning. Whether a text is of its format is decided by the services; a field that may be cleared takes `""` as well.
"""

FORMATS = {
    "pem-certificates": "X.509 certificates in PEM, one after the other; the leaf first where there is one.",
    "pem-private-key": "A private key in PEM: PKCS#8, PKCS#1 or SEC 1.",
    "pem-csr": "A certificate signing request (PKCS#10) in PEM.",
    "pem-crls": "Certificate revocation lists in PEM, one after the other.",
    "domain-name": "A DNS name, with `*.` in front for all names one label below it, or an IPv4 address.",
    "host-or-ip": "A DNS name or an IP address, without port.",
    "host-and-port": "A DNS name or an IP address (IPv6 in brackets), perhaps with a port.",
    "server-name": "One DNS name, without wildcard.",
    "verify-name": "A DNS name, an IP address or a SPIFFE ID.",
    "openssl-ciphers": "A cipher list of OpenSSL, for TLS 1.2.",
    "alpn-protocol": "The name of a protocol in ALPN, such as `http/1.1`.",
    "spki-sha256": "The SHA-256 of a public key (SPKI): 64 hexadecimal digits, or base64, perhaps after `sha256/`.",
    "http-field-name": "The name of an HTTP header field.",
    "http-field-value": "One line of printable ASCII characters without spaces around it.",
    "request-target": "A path with an optional query, beginning with a slash.",
    "status-ranges": "HTTP statuses and ranges of them, such as `200-399` or `200,204`.",
    "http-url": "An absolute http or https URL.",
    "mail-address": "A mail address in ASCII.",
    "time-of-day": "Hours, minutes and perhaps seconds, such as `22:00`; of which time zone is said beside it.",
    "time-zone": "A name of the IANA time zone database, such as `Europe/Berlin`.",
}
