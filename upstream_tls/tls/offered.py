"""The certificate that would have to be trusted, so that what an upstream presents would verify.

Laws of this module: a proposal for a person who compares fingerprints; it never changes what is trusted. A stranger
sent all of it, so nothing raises, and what is kept of it has a bound.
"""

import itertools
from collections.abc import Sequence

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL.crypto import X509

from upstream_tls.tls.chain import is_issued_by

# What trusting somebody else would put right.
CODES = frozenset(("unknown_authority", "self_signed", "missing_intermediate"))
# A CA with RSA 4096 has 2 KB; results are stored, and many are read at once.
MAX_PEM_CHARACTERS = 8 * 1024


def offered_anchor(presented: Sequence[X509]) -> str:
    """PEM of the highest certificate of the chain, leaf first, in which each has signed the one before it.

    It is the upstream's own when that came alone. Empty when it cannot be read or is too large.
    """
    try:
        chain = [certificate.to_cryptography() for certificate in presented]
        signed = itertools.takewhile(lambda pair: is_issued_by(*pair), itertools.pairwise(chain))
        top = [*chain[:1], *(issuer for _, issuer in signed)][-1]
        pem = top.public_bytes(Encoding.PEM).decode("ascii")
    except Exception:  # noqa: BLE001 (a malformed certificate is none to be trusted)
        return ""
    return pem if len(pem) <= MAX_PEM_CHARACTERS else ""
