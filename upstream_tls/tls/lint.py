"""What about uploaded certificates will go wrong although nothing is broken, and what happens then.

Laws of this module:
- A warning never blocks. What cannot work at all is an error of `credentials`, `chain` or `crl`.
- Each warning says the consequence, because the rule alone convinces nobody. Many certificates with one fault are one
  warning. No text tells the number of days left: a text changes only when its verdict does.
- Pure: no I/O, the clock is an argument. The cost grows with the number of certificates, and no faster.
"""

import datetime
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from upstream_tls.tls.chain import is_issued_by, is_self_signed
from upstream_tls.tls.crl import RevocationLists
from upstream_tls.tls.traits import (
    has_weak_key,
    has_weak_signature,
    is_ca,
    may_authenticate_clients,
    may_be_trusted_as_ca,
    may_sign,
    names_its_issuers_address,
)

EXPIRES_SOON = datetime.timedelta(days=30)

CLIENT_CERTIFICATE = "client_certificate"
CA_CERTIFICATE = "ca_certificate"
CRL = "crl"

_NAMED_CERTIFICATES = 3


@dataclass(frozen=True, slots=True)
class LintWarning:
    """`code` is stable (docs/diagnosis.md); `field` is the API's name of the field that is meant."""

    code: str
    field: str
    message: str


def lint(
    *,
    chain: Sequence[x509.Certificate] = (),
    ca_bundle: Sequence[x509.Certificate] = (),
    crls: RevocationLists = (),
    now: datetime.datetime,
    others: Sequence[str] = (),
    known: Sequence[x509.Certificate] = (),
) -> tuple[LintWarning, ...]:
    """The warnings, field by field. Every certificate was read by `credentials`, so its parts can be parsed.

    `chain` is the client's, leaf first. `others` are the names of other hosts that present the same certificate.
    `known` are CA certificates that are at hand besides the bundle; they tell intermediates from roots.
    """
    return (
        *_lint_client(chain, now, others, (*ca_bundle, *known)),
        *_lint_bundle(ca_bundle, now),
        *_lint_crls(crls, ca_bundle, now),
    )


def _lint_client(
    chain: Sequence[x509.Certificate],
    now: datetime.datetime,
    others: Sequence[str],
    known: Sequence[x509.Certificate],
) -> Iterator[LintWarning]:
    if not chain:
        return
    leaf = chain[0]
    if is_ca(leaf):
        yield _of_client(
            "ca_as_leaf", f"{_name(leaf)} is a CA certificate: a leaf belongs here. Most upstreams refuse it."
        )
    if not may_authenticate_clients(leaf):
        yield _of_client(
            "no_client_auth",
            "The certificate's extended key usage lacks clientAuth. OpenSSL backends answer it with alert 43 "
            "(unsupported certificate), Go with alert 42 (bad certificate), Node closes silently, nginx answers HTTP "
            "400. Have it issued again with clientAuth.",
        )
    if not may_sign(leaf):
        yield _of_client(
            "no_digital_signature",
            "The certificate's key usage lacks digitalSignature, with which TLS proves that the key is there. "
            "OpenSSL and Go upstreams refuse it. Have it issued again with digitalSignature.",
        )
    yield from _lint_top(chain[-1], known)
    yield from _lint_strength(CLIENT_CERTIFICATE, chain, "The upstream refuses it: OpenSSL 3 and Go do so by default.")
    yield from _lint_validity(
        CLIENT_CERTIFICATE, chain, now, "Upstreams refuse it with alert 45 (expired certificate)."
    )
    if others:
        yield _of_client(
            "shared_certificate",
            f"The same key is used by {_list(others)} too. Upstreams cannot tell these hosts apart, and revoking the "
            "certificate stops all of them.",
        )


def _lint_top(top: x509.Certificate, known: Sequence[x509.Certificate]) -> Iterator[LintWarning]:
    """Whether the chain reaches a certificate that a root has signed, as far as that can be known."""
    if is_self_signed(top):
        return
    issuers = [certificate for certificate in known if is_issued_by(top, certificate)]
    issuer = top.issuer.rfc4514_string()
    refusal = (
        "Unless the upstream has it, OpenSSL and Go backends answer alert 48 (unknown certificate authority), Node "
        "closes silently, nginx answers HTTP 400. Add it behind the leaf."
    )
    if issuers and not any(is_self_signed(certificate) for certificate in issuers):
        yield _of_client("missing_intermediate", f"The intermediate {issuer} is missing from the chain. {refusal}")
    elif not issuers and names_its_issuers_address(top):
        # Public and Windows CAs say where their certificate can be fetched; clients of TLS servers rarely look.
        yield _of_client(
            "missing_intermediate", f"The chain ends below {issuer}, which looks like an intermediate. {refusal}"
        )


def _lint_bundle(bundle: Sequence[x509.Certificate], now: datetime.datetime) -> Iterator[LintWarning]:
    repeated = [certificate for certificate, count in Counter(bundle).items() if count > 1]
    if repeated:
        yield _of_bundle(
            "duplicate_certificate", f"{_names(repeated)}: more than once in the bundle, which does no harm."
        )
    leaves = [certificate for certificate in bundle if not may_be_trusted_as_ca(certificate)]
    if leaves:
        yield _of_bundle(
            "leaf_as_ca",
            f"{_names(leaves)}: not a CA certificate. It is trusted for itself only; when the upstream gets a new "
            "certificate, every request answers 502 until that one is entered here.",
        )
    yield from _lint_strength(CA_CERTIFICATE, bundle, "OpenSSL refuses chains that contain it.")
    yield from _lint_validity(CA_CERTIFICATE, bundle, now, "Upstreams whose chain ends there are refused.")


def _lint_strength(field: str, certificates: Sequence[x509.Certificate], consequence: str) -> Iterator[LintWarning]:
    weak_keys = [certificate for certificate in certificates if has_weak_key(certificate)]
    if weak_keys:
        yield LintWarning("weak_key", field, f"{_names(weak_keys)}: the key is too weak for today's TLS. {consequence}")
    # Nobody checks the signature of a root: it is trusted as it stands.
    weak = [found for found in certificates if has_weak_signature(found) and not is_self_signed(found)]
    if weak:
        yield LintWarning("weak_signature", field, f"{_names(weak)}: signed with SHA-1 or MD5. {consequence}")


def _lint_validity(
    field: str, certificates: Sequence[x509.Certificate], now: datetime.datetime, consequence: str
) -> Iterator[LintWarning]:
    expired = [found for found in certificates if found.not_valid_after_utc < now]
    expiring = [found for found in certificates if now <= found.not_valid_after_utc < now + EXPIRES_SOON]
    future = [found for found in certificates if found.not_valid_before_utc > now]
    for code, verb, found in (("expired", "expired on", expired), ("expires_soon", "expires on", expiring)):
        if found:
            moment = min(certificate.not_valid_after_utc for certificate in found)
            yield LintWarning(code, field, f"{_names(found)}: {verb} {moment:%Y-%m-%d %H:%M} UTC. {consequence}")
    if future:
        moment = max(certificate.not_valid_before_utc for certificate in future)
        text = f"{_names(future)}: valid only from {moment:%Y-%m-%d %H:%M} UTC. Until then: {consequence}"
        yield LintWarning("not_yet_valid", field, text)


def _lint_crls(
    crls: RevocationLists, bundle: Sequence[x509.Certificate], now: datetime.datetime
) -> Iterator[LintWarning]:
    if not crls:
        return
    strangers = [crl for crl in crls if not any(_is_list_of(crl, issuer) for issuer in bundle)]
    if strangers:
        names = _list([crl.issuer.rfc4514_string() for crl in strangers])
        yield LintWarning("crl_of_other_ca", CRL, f"{names}: no certificate of the CA bundle issued this list.")
    stale = [crl for crl in crls if crl.next_update_utc is not None and crl.next_update_utc < now]
    if stale:
        names = _list([crl.issuer.rfc4514_string() for crl in stale])
        yield LintWarning("crl_expired", CRL, f"{names}: the list is out of date, and every upstream is refused.")
    uncovered = [
        found for found in bundle if may_be_trusted_as_ca(found) and not any(_is_list_of(crl, found) for crl in crls)
    ]
    if uncovered:
        yield LintWarning(
            "crl_missing",
            CRL,
            f"{_names(uncovered)}: no list of this CA. Once there is a list, each CA of an upstream's chain needs one, "
            "and upstreams of this CA are refused.",
        )


def _of_client(code: str, message: str) -> LintWarning:
    return LintWarning(code, CLIENT_CERTIFICATE, message)


def _of_bundle(code: str, message: str) -> LintWarning:
    return LintWarning(code, CA_CERTIFICATE, message)


def _is_list_of(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    if crl.issuer != issuer.subject:
        return False
    try:
        return crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
    except (InvalidSignature, UnsupportedAlgorithm, TypeError, ValueError):
        return False


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or f"(serial number {certificate.serial_number:x})"


def _names(certificates: Sequence[x509.Certificate]) -> str:
    return _list([_name(certificate) for certificate in certificates])


def _list(names: Sequence[str]) -> str:
    """The first few names and how many more."""
    hidden_count = len(names) - _NAMED_CERTIFICATES
    listed = ", ".join(names[:_NAMED_CERTIFICATES])
    return f"{listed} and {hidden_count} more" if hidden_count > 0 else listed
