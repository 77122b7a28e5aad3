"""Finds the blocks of a PEM text and nothing else.

Laws of this module:
- Sizes are checked before anything is parsed, so that hostile input costs milliseconds.
- What stands between blocks (names of CAs, OpenSSL's "Bag Attributes") is ignored, as RFC 7468 section 2 allows.
- Texts are for users: they name what was found by its label, never by its content.
"""

import re
from dataclasses import dataclass, field

# A bundle of all public CAs is about 220 KiB with 140 certificates.
MAX_PEM_BYTES = 1024 * 1024
MAX_BLOCKS = 500

_BEGIN = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----")


class CredentialProblem(ValueError):
    """A certificate or key that cannot be used. `code` is stable (docs/diagnosis.md), `message` is for the user."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class PEMBlock:
    """One block with its delimiters. `text` may be a private key, so it is not shown."""

    label: str
    text: bytes = field(repr=False)

    @property
    def is_private_key(self) -> bool:
        return self.label.endswith("PRIVATE KEY")

    @property
    def is_certificate(self) -> bool:
        return self.label in ("CERTIFICATE", "X509 CERTIFICATE")

    @property
    def is_pkcs7(self) -> bool:
        return self.label == "PKCS7"

    @property
    def is_crl(self) -> bool:
        return self.label == "X509 CRL"


def split_pem(pem: bytes) -> tuple[PEMBlock, ...]:
    """The blocks of `pem`, in order; none is no error. Raises CredentialProblem `bad_pem`."""
    if len(pem) > MAX_PEM_BYTES:
        raise CredentialProblem("bad_pem", f"This is larger than {MAX_PEM_BYTES // 1024} KiB.")
    begins = list(_BEGIN.finditer(pem))
    if len(begins) > MAX_BLOCKS:
        raise CredentialProblem("bad_pem", f"This holds more than {MAX_BLOCKS} PEM blocks.")
    limits = [following.start() for following in begins[1:]] + [len(pem)]
    blocks = []
    for begin, limit in zip(begins, limits, strict=False):
        label = begin[1].decode("ascii")
        end_line = b"-----END " + begin[1] + b"-----"
        end = pem.find(end_line, begin.end(), limit)
        if end < 0:
            raise CredentialProblem("bad_pem", f"The line -----END {label}----- is missing.")
        blocks.append(PEMBlock(label, pem[begin.start() : end + len(end_line)] + b"\n"))
    return tuple(blocks)
