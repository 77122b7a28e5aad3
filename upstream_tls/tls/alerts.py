"""TLS alerts by number, in the words of Go's crypto/tls, which people search for (RFC 8446 section 6, RFC 5246 7.2)."""

CLOSE_NOTIFY = 0
HANDSHAKE_FAILURE = 40
PROTOCOL_VERSION = 70
CERTIFICATE_REQUIRED = 116

ALERT_TEXTS = {
    0: "close notify",
    10: "unexpected message",
    20: "bad record MAC",
    21: "decryption failed",
    22: "record overflow",
    30: "decompression failure",
    40: "handshake failure",
    42: "bad certificate",
    43: "unsupported certificate",
    44: "revoked certificate",
    45: "expired certificate",
    46: "unknown certificate",
    47: "illegal parameter",
    48: "unknown certificate authority",
    49: "access denied",
    50: "error decoding message",
    51: "error decrypting message",
    60: "export restriction",
    70: "protocol version not supported",
    71: "insufficient security level",
    80: "internal error",
    86: "inappropriate fallback",
    90: "user canceled",
    100: "no renegotiation",
    109: "missing extension",
    110: "unsupported extension",
    112: "unrecognized name",
    113: "bad certificate status response",
    115: "unknown PSK identity",
    116: "certificate required",
    120: "no application protocol",
    121: "encrypted client hello required",
}


def alert_text(number: int) -> str:
    """The alert in Go's words, or `alert(n)` for one that no RFC names."""
    return ALERT_TEXTS.get(number, f"alert({number})")
