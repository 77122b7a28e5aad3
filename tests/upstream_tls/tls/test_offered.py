"""What would have to be trusted for a chain to verify."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL.crypto import X509

from tests.support.certificates import Authority
from upstream_tls.tls.offered import CODES, MAX_PEM_CHARACTERS, offered_anchor
from upstream_tls.tls.remedies import REMEDIES

ROOT = Authority("Root")
MIDDLE = Authority("Middle", parent=ROOT)
LEAF = MIDDLE.server("orders.internal").certificate


def offered(*certificates: x509.Certificate) -> str:
    return offered_anchor([X509.from_cryptography(certificate) for certificate in certificates])


def test_codes_are_those_of_the_remedies() -> None:
    """A code that was renamed would offer nothing any more."""
    assert set(REMEDIES) >= CODES


def test_the_highest_of_its_own_chain_is_offered() -> None:
    """Not what was put behind it without having signed it; the leaf itself when it came alone."""
    assert offered(LEAF, MIDDLE.certificate, ROOT.certificate) == ROOT.pem
    assert offered(LEAF, MIDDLE.certificate, Authority("Stranger").certificate) == MIDDLE.pem
    assert offered(LEAF, ROOT.certificate) == LEAF.public_bytes(Encoding.PEM).decode()
    assert offered() == ""


@pytest.mark.parametrize("count", [1, 1000])
def test_what_is_kept_has_a_bound(count: int) -> None:
    """A certificate of a megabyte is nothing to be trusted."""
    pem = offered(MIDDLE.server(*(f"name-{number}.internal" for number in range(count))).certificate)
    assert (0 < len(pem) <= MAX_PEM_CHARACTERS) is (count == 1)
