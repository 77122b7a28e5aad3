"""Certificates and revocation lists that are stored, parsed once for all who show, judge or count them.

Laws of this module:
- Certificates are public and immutable, so one parsed object serves every request; nothing here is a key.
- Only what was checked when it was stored is parsed here, and only short texts are remembered: what is kept has a bound
  in bytes, whatever an operator stores.
"""

import datetime
import functools
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from aegis_site.kernel.certificates import CertificateFacts, describe
from upstream_tls.tls.credentials import parse_chain
from upstream_tls.tls.crl import parse_crls

# A report of 1 000 hosts asks for two or three texts of each, a chain some 2 KB: some 20 MiB with what is parsed of
# them; 160 MiB if each were of the largest size.
_REMEMBERED = 4096
_MAX_REMEMBERED_CHARACTERS = 16 * 1024


class RevocationListFacts(NamedTuple):
    """A revocation list, described. `next_update` is None where the list does not say when the next one comes."""

    issuer: str
    next_update: datetime.datetime | None
    fingerprint_sha256: str


class _Stored:
    """What is known of one text; each answer is made when it is first asked for."""

    def __init__(self, pem: str) -> None:
        self._pem = pem

    @functools.cached_property
    def certificates(self) -> tuple[x509.Certificate, ...]:
        return parse_chain(self._pem.encode("ascii"))

    @functools.cached_property
    def facts(self) -> tuple[CertificateFacts, ...]:
        return tuple(describe(certificate) for certificate in self.certificates)

    @functools.cached_property
    def ends(self) -> tuple[datetime.datetime, ...]:
        # Asked of every host at once, and it needs none of the checks of `parse_chain`, which take five times as long.
        certificates = x509.load_pem_x509_certificates(self._pem.encode("ascii"))
        return tuple(certificate.not_valid_after_utc for certificate in certificates)

    @functools.cached_property
    def revocation_lists(self) -> tuple[RevocationListFacts, ...]:
        return tuple(
            RevocationListFacts(
                crl.issuer.rfc4514_string(), crl.next_update_utc, crl.fingerprint(hashes.SHA256()).hex()
            )
            for crl in parse_crls(self._pem.encode("ascii"))
        )


_remembered = functools.lru_cache(maxsize=_REMEMBERED)(_Stored)


def stored_certificates(pem: str) -> tuple[x509.Certificate, ...]:
    """The certificates of a stored chain or CA bundle, in order; none of an empty text."""
    return _of(pem).certificates if pem else ()


def stored_facts(pem: str) -> tuple[CertificateFacts, ...]:
    """Their facts, in the same order."""
    return _of(pem).facts if pem else ()


def stored_ends(pem: str) -> tuple[datetime.datetime, ...]:
    """When each of them ends, in the same order."""
    return _of(pem).ends if pem else ()


def stored_revocation_lists(pem: str) -> tuple[RevocationListFacts, ...]:
    """The facts of stored revocation lists, in order; none of an empty text. Of a long text they are read each time."""
    return _of(pem).revocation_lists if pem else ()


def _of(pem: str) -> _Stored:
    return _remembered(pem) if len(pem) <= _MAX_REMEMBERED_CHARACTERS else _Stored(pem)
