"""Members that fail in the protocol, in the transport or in time, and those that answer with every HTTP status."""

from OpenSSL import SSL

from upstream_tls.zoo.member import Member, settings
from upstream_tls.zoo.pki import PKI
from upstream_tls.zoo.servers import (
    TLSUpstream,
    alert,
    answer,
    closes,
    floods,
    is_never_final,
    is_silent,
    never_finishes,
    resets,
    says,
    says_nothing,
    trickles,
    trickles_answer,
)

_RSA_ONLY = b"ECDHE-RSA-AES128-GCM-SHA256"
_NO_ANSWER = "i/o timeout"


def _strict(pki: PKI) -> TLSUpstream:
    return TLSUpstream(identity=pki.server(), clients=(pki.clients_root,))


def _answering(status_line: str) -> Member:
    """A success: the handshake was good, whatever the application thinks."""
    status = status_line.split(maxsplit=1)[0]
    return Member(
        name=f"answers-{status}",
        title=f"Takes the client certificate and answers {status_line}",
        behaviour=lambda pki: TLSUpstream(
            identity=pki.server(), clients=(pki.clients_root,), response=answer(status_line)
        ),
        spec=settings,
    )


MEMBERS = (
    Member(
        name="only-tls-13",
        title="Speaks TLS 1.3 only, and the host is set to TLS 1.2 at most",
        code="protocol_version",
        message="remote error: tls: protocol version not supported",
        behaviour=lambda pki: TLSUpstream(identity=pki.server(), versions=(SSL.TLS1_3_VERSION, SSL.TLS1_3_VERSION)),
        spec=lambda pki: settings(pki, max_version="TLSv1.2"),
        tls_versions=("TLSv1.2",),
    ),
    Member(
        name="only-tls-12",
        title="Speaks TLS 1.2 only, and the host is set to TLS 1.3 at least",
        code="protocol_version",
        message="remote error: tls: protocol version not supported",
        behaviour=lambda pki: TLSUpstream(identity=pki.server(), versions=(SSL.TLS1_2_VERSION, SSL.TLS1_2_VERSION)),
        spec=lambda pki: settings(pki, min_version="TLSv1.3"),
        tls_versions=("TLSv1.3",),
    ),
    Member(
        name="no-shared-cipher",
        title="Has an EC certificate and ciphers for RSA certificates only",
        code="handshake_failure",
        message="remote error: tls: handshake failure",
        behaviour=lambda pki: TLSUpstream(
            identity=pki.server(), versions=(SSL.TLS1_2_VERSION, SSL.TLS1_2_VERSION), ciphers=_RSA_ONLY
        ),
        spec=lambda pki: settings(pki, max_version="TLSv1.2"),
        tls_versions=("TLSv1.2",),
    ),
    Member(
        name="insufficient-security",
        title="Finds the offered ciphers too weak",
        code="handshake_failure",
        message="remote error: tls: insufficient security level",
        behaviour=lambda _pki: alert(71),
        spec=settings,
    ),
    Member(
        name="no-shared-protocol",
        title="Speaks HTTP/2 only",
        code="alpn_mismatch",
        message="remote error: tls: no application protocol",
        behaviour=lambda pki: TLSUpstream(identity=pki.server(), alpn=b"h2"),
        spec=settings,
    ),
    Member(
        name="unrecognized-name",
        title="Does not serve the name in the TLS handshake",
        code="unrecognized_name",
        message="remote error: tls: unrecognized name",
        behaviour=lambda _pki: alert(112),
        spec=settings,
    ),
    Member(
        name="misdirected",
        title="Answers 421 Misdirected Request",
        code="unrecognized_name",
        message="remote error: tls: unrecognized name",
        behaviour=lambda pki: TLSUpstream(
            identity=pki.server(), clients=(pki.clients_root,), response=answer("421 Misdirected Request")
        ),
        spec=settings,
    ),
    Member(
        name="plain-http",
        title="Speaks plain HTTP on this port",
        code="not_tls",
        message="tls: first record does not look like a TLS handshake",
        behaviour=lambda _pki: says(answer("400 Bad Request"), after_hello=True),
        spec=settings,
    ),
    Member(
        name="ssh",
        title="Speaks SSH on this port",
        code="not_tls",
        message="tls: first record does not look like a TLS handshake",
        behaviour=lambda _pki: says(b"SSH-2.0-OpenSSH_10.0\r\n", after_hello=False),
        spec=settings,
    ),
    Member(
        name="internal-error",
        title="Fails with an alert that says nothing about certificates",
        code="tls_alert",
        message="remote error: tls: internal error",
        behaviour=lambda _pki: alert(80),
        spec=settings,
    ),
    Member(
        name="refused",
        title="Nobody listens",
        code="connection_refused",
        message="dial tcp 127.0.0.1:*: connect: connection refused",
        behaviour=None,
        spec=settings,
    ),
    Member(
        name="reset",
        title="Cuts the connection off in the handshake",
        code="connection_reset",
        message="read tcp 127.0.0.1:*: connection reset by peer",
        behaviour=lambda _pki: resets,
        spec=settings,
    ),
    Member(
        name="closed",
        title="Closes the connection in the handshake",
        code="connection_closed",
        message="EOF",
        behaviour=lambda _pki: closes,
        spec=settings,
    ),
    Member(
        name="unknown-host",
        title="Has a name that does not exist",
        code="dns_failure",
        message="lookup zoo.invalid: *",
        behaviour=None,
        spec=settings,
        address="zoo.invalid",
    ),
    Member(
        name="silent",
        title="Accepts the connection and says nothing",
        code="timeout",
        message=_NO_ANSWER,
        behaviour=lambda _pki: is_silent,
        spec=settings,
        takes_all_time=True,
    ),
    Member(
        name="trickle",
        title="Sends a byte a second",
        code="timeout",
        message=_NO_ANSWER,
        behaviour=lambda _pki: trickles,
        spec=settings,
        takes_all_time=True,
    ),
    Member(
        name="unfinished-handshake",
        title="Never finishes the handshake",
        code="timeout",
        message=_NO_ANSWER,
        behaviour=lambda pki: never_finishes(_strict(pki)),
        spec=settings,
        takes_all_time=True,
    ),
    Member(
        name="never-answers",
        title="Takes the request and never answers",
        code="timeout",
        message=_NO_ANSWER,
        behaviour=lambda pki: TLSUpstream(identity=pki.server(), clients=(pki.clients_root,), talk=says_nothing),
        spec=settings,
        takes_all_time=True,
    ),
    Member(
        name="trickled-answer",
        title="Answers a byte a second",
        code="timeout",
        message=_NO_ANSWER,
        behaviour=lambda pki: TLSUpstream(identity=pki.server(), clients=(pki.clients_root,), talk=trickles_answer),
        spec=settings,
        takes_all_time=True,
    ),
    Member(
        name="never-final",
        title="Sends interim responses for ever",
        code="timeout",
        message=_NO_ANSWER,
        behaviour=lambda pki: TLSUpstream(identity=pki.server(), clients=(pki.clients_root,), talk=is_never_final),
        spec=settings,
        takes_all_time=True,
    ),
    Member(
        name="flood",
        title="Answers with a header field that never ends",
        code="malformed_response",
        message="malformed HTTP response",
        behaviour=lambda pki: TLSUpstream(identity=pki.server(), clients=(pki.clients_root,), talk=floods),
        spec=settings,
    ),
    _answering("401 Unauthorized"),
    _answering("404 Not Found"),
    _answering("500 Internal Server Error"),
)
