"""What about a host's certificate for its clients will go wrong although the proxy can serve it.

Laws of this module: as in `upstream_tls.tls.lint`: a warning never blocks, says the consequence, and the clock is an
argument.
"""

import datetime
from collections.abc import Iterator, Sequence

from cryptography import x509

from upstream_tls.tls.lint import EXPIRES_SOON, LintWarning
from upstream_tls.tls.names import CertificateNames
from upstream_tls.tls.traits import may_authenticate_servers

CERTIFICATE = "certificate"

_NAMED_DOMAINS = 3


def lint_downstream(
    chain: Sequence[x509.Certificate], *, domains: Sequence[str], now: datetime.datetime
) -> tuple[LintWarning, ...]:
    """The warnings about a chain, leaf first, that is shown for `domains`."""
    return tuple(_lint(chain, domains, now)) if chain else ()


def _lint(chain: Sequence[x509.Certificate], domains: Sequence[str], now: datetime.datetime) -> Iterator[LintWarning]:
    leaf = chain[0]
    names = CertificateNames(leaf)
    uncovered = [domain for domain in domains if not names.cover(domain)]
    if uncovered:
        hidden_count = len(uncovered) - _NAMED_DOMAINS
        listed = ", ".join(uncovered[:_NAMED_DOMAINS]) + (f" and {hidden_count} more" if hidden_count > 0 else "")
        yield _warning("domain_not_covered", f"The certificate does not name {listed}. Browsers warn there.")
    if not may_authenticate_servers(leaf):
        yield _warning(
            "no_server_auth", "The certificate's extended key usage lacks serverAuth. Browsers and tools refuse it."
        )
    ending = min(chain, key=lambda certificate: certificate.not_valid_after_utc)
    moment = ending.not_valid_after_utc
    if moment < now:
        yield _warning("expired", f"Expired on {moment:%Y-%m-%d %H:%M} UTC. Browsers warn.")
    elif moment < now + EXPIRES_SOON:
        yield _warning("expires_soon", f"Expires on {moment:%Y-%m-%d %H:%M} UTC. Browsers warn from then on.")
    if leaf.not_valid_before_utc > now:
        text = f"Valid only from {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC. Browsers warn until then."
        yield _warning("not_yet_valid", text)


def _warning(code: str, message: str) -> LintWarning:
    return LintWarning(code, CERTIFICATE, message)
