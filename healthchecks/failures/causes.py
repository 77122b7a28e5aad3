"""Which causes are TLS's: the codes of docs/diagnosis.md that are not of the transport or of HTTP. Pure."""

from upstream_tls.tls.meanings import meaning_of

# A connection that broke, or never came to be, has nothing to do with certificates.
_TRANSPORT = frozenset(
    (
        "connection_refused",
        "connection_reset",
        "connection_closed",
        "timeout",
        "dns_failure",
        "unreachable",
        "connect_failed",
    )
)


def is_tls(code: str) -> bool:
    """Whether TLS, or a certificate, is why."""
    return code not in _TRANSPORT and meaning_of(code) is not None
