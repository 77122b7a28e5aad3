"""Reads the outside of DER, to tell what a file holds, and puts files into PEM.

Laws of this module: nothing is decoded but tags and lengths; bytes that are not DER are a ValueError, never a crash.
"""

import base64
from collections.abc import Iterator

from cryptography import x509

INTEGER = 0x02
BIT_STRING = 0x03
OCTET_STRING = 0x04
OBJECT_IDENTIFIER = 0x06
SEQUENCE = 0x30
CONTEXT_0 = 0xA0

# What the tags inside the outermost SEQUENCE say about a file, the most specific first (RFC 5280, 5208, 5958, 8017,
# 5915, 7292, 5652).
_SHAPES: tuple[tuple[tuple[int, ...], str], ...] = (
    ((SEQUENCE, SEQUENCE, BIT_STRING), "CERTIFICATE"),
    ((SEQUENCE, OCTET_STRING), "ENCRYPTED PRIVATE KEY"),
    ((INTEGER, SEQUENCE, OCTET_STRING), "PRIVATE KEY"),
    ((INTEGER, OCTET_STRING), "EC PRIVATE KEY"),
    ((INTEGER,) * 9, "RSA PRIVATE KEY"),
    ((INTEGER, SEQUENCE), "PKCS12"),
    ((OBJECT_IDENTIFIER, CONTEXT_0), "PKCS7"),
)

# PKCS#12 is the one format that is also written in BER: an indefinite SEQUENCE, then version 3 (RFC 7292 section 4).
_BER_PKCS12 = bytes.fromhex("3080020103")

_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def to_pem(content: bytes) -> bytes:
    """The content of a file as PEM text. What is not recognised comes back as it is, for the PEM reader to refuse."""
    if content.startswith(_UTF_16_MARKS):
        # What the Windows editor and PowerShell make of a PEM text.
        return content.decode("utf-16", "replace").encode("utf-8", "replace")
    label = label_of(content)
    return armoured(content, label) if label else content


def label_of(content: bytes) -> str:
    """The PEM label that fits a DER file, empty for anything else."""
    if content.startswith(_BER_PKCS12):
        return "PKCS12"
    try:
        tag, start, end = read_element(content, 0)
        if tag != SEQUENCE or content[end:].strip(b"\r\n\0"):
            return ""
        tags = tuple(tag for tag, _, _ in _elements(content, start, end))
    except (IndexError, ValueError):
        return ""
    label = next((label for shape, label in _SHAPES if tags[: len(shape)] == shape), "")
    return "X509 CRL" if label == "CERTIFICATE" and _is_crl(content[:end]) else label


def armoured(der: bytes, label: str) -> bytes:
    """`der` as a PEM block."""
    body = base64.encodebytes(der).replace(b"\n", b"")
    lines = [body[at : at + 64] for at in range(0, len(body), 64)]
    name = label.encode("ascii")
    return b"\n".join((b"-----BEGIN " + name + b"-----", *lines, b"-----END " + name + b"-----", b""))


def unarmoured(block: bytes) -> bytes:
    """The DER of one PEM block without headers. Raises ValueError."""
    body = b"".join(line.strip() for line in block.splitlines() if not line.startswith(b"-----"))
    return base64.b64decode(body, validate=True)


def read_element(der: bytes, at: int) -> tuple[int, int, int]:
    """Tag, start and end of the value at `at`. Raises ValueError or IndexError for what DER does not allow."""
    tag, length, start = der[at], der[at + 1], at + 2
    if length >= 0x80:
        octets = length & 0x7F
        if not 1 <= octets <= 4:
            raise ValueError("length is indefinite or absurd")
        start += octets
        length = int.from_bytes(der[at + 2 : start], "big")
    if start + length > len(der):
        raise ValueError("an element ends behind the end")
    return tag, start, start + length


def _elements(der: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The first elements side by side between `start` and `end`; no shape needs more than nine."""
    for _ in range(9):
        if start >= end:
            return
        element = read_element(der, start)
        yield element
        start = element[2]


def _is_crl(der: bytes) -> bool:
    try:
        x509.load_der_x509_crl(der)
    except ValueError:
        return False
    return True
