"""Members that refuse the client certificate, each for its own reason: what upstreams judge."""

from upstream_tls.zoo.member import Member, settings
from upstream_tls.zoo.pki import CLIENT, DAY, PKI, SERVER, Identity, Wrong
from upstream_tls.zoo.servers import TLSUpstream, alert, answer, cuts_off, hangs_up

_LEVEL_4 = b"DEFAULT:@SECLEVEL=4"
_UNKNOWN_CERTIFICATE = "remote error: tls: unknown certificate"


def _page(text: str) -> bytes:
    """nginx's page for its statuses 495 and 496, which go out as 400."""
    return answer(
        "400 Bad Request",
        f"<html>\r\n<head><title>400 {text}</title></head>\r\n<body>\r\n<center><h1>400 Bad Request</h1></center>\r\n"
        f"<center>{text}</center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n",
    )


def _strict(pki: PKI) -> TLSUpstream:
    return TLSUpstream(identity=pki.server(), clients=(pki.clients_root,))


def _below_intermediate(pki: PKI) -> Identity:
    return pki.client(issuer=pki.authority("Zoo client intermediate CA", issuer=pki.clients_root))


def _of_renewed_ca(pki: PKI) -> Identity:
    """Signed with the client CA's next key, under the same name, which the upstream has not got yet."""
    renewed = Identity(certificate=pki.clients_root.certificate, key=pki.key("Zoo client CA, renewed"))
    return pki.client(issuer=renewed, wrong=Wrong(usages=CLIENT, has_key_id=False))


MEMBERS = (
    Member(
        name="certificate-required",
        title="Demands a client certificate, and none is configured",
        code="client_certificate_required",
        message="remote error: tls: certificate required",
        behaviour=_strict,
        spec=lambda pki: settings(pki, without_client=True),
    ),
    Member(
        name="certificate-required-by-page",
        title="Demands a client certificate with HTTP 400, as nginx does, and none is configured",
        code="client_certificate_required",
        message="remote error: tls: certificate required",
        behaviour=lambda pki: TLSUpstream(
            identity=pki.server(),
            clients=(pki.clients_root,),
            takes_any_client=True,
            response=_page("No required SSL certificate was sent"),
        ),
        spec=lambda pki: settings(pki, without_client=True),
    ),
    Member(
        name="certificate-untrusted",
        title="The client certificate is from a CA that it does not know",
        code="client_certificate_untrusted",
        message="remote error: tls: unknown certificate authority",
        behaviour=_strict,
        spec=lambda pki: settings(pki, client=pki.client(issuer=pki.stranger)),
    ),
    Member(
        name="certificate-without-intermediate",
        title="The client certificate comes without its intermediate",
        code="client_certificate_untrusted",
        message="remote error: tls: unknown certificate authority",
        behaviour=_strict,
        spec=lambda pki: settings(pki, client=_below_intermediate(pki).alone),
    ),
    Member(
        name="certificate-unsuitable",
        title="Demands 192 bits of security, and the client key has 128, so that it cannot sign",
        code="client_certificate_required",
        message="remote error: tls: certificate required",
        behaviour=lambda pki: TLSUpstream(
            identity=pki.server(wrong=Wrong(key=pki.strong_key())), clients=(pki.clients_root,), ciphers=_LEVEL_4
        ),
        spec=lambda pki: settings(pki, min_version="TLSv1.3"),
        tls_versions=("TLSv1.3",),
    ),
    Member(
        name="certificate-bad",
        title="Complains of a bad certificate, as Go does of one that is not for clients",
        code="client_certificate_bad",
        message="remote error: tls: bad certificate",
        behaviour=lambda _pki: alert(42),
        spec=settings,
    ),
    Member(
        name="certificate-expired",
        title="Its revocation list of client certificates is over",
        code="client_certificate_expired",
        message="remote error: tls: expired certificate",
        behaviour=lambda pki: TLSUpstream(
            identity=pki.server(),
            clients=(pki.clients_root,),
            client_crls=(pki.crl(pki.clients_root, ends=-DAY),),
        ),
        spec=settings,
    ),
    Member(
        name="certificate-revoked",
        title="The client certificate is on its revocation list",
        code="client_certificate_revoked",
        message="remote error: tls: revoked certificate",
        behaviour=lambda pki: TLSUpstream(
            identity=pki.server(),
            clients=(pki.clients_root,),
            client_crls=(pki.crl(pki.clients_root, (pki.client().certificate,)),),
        ),
        spec=settings,
    ),
    Member(
        name="certificate-wrong-purpose",
        title="The client certificate is for servers only",
        code="client_certificate_wrong_purpose",
        message="remote error: tls: unsupported certificate",
        behaviour=_strict,
        spec=lambda pki: settings(pki, client=pki.client(wrong=Wrong(usages=SERVER))),
    ),
    Member(
        name="certificate-not-understood",
        title="Does not understand a critical extension of the client certificate",
        code="client_certificate_rejected",
        message=_UNKNOWN_CERTIFICATE,
        behaviour=_strict,
        spec=lambda pki: settings(pki, client=pki.client(wrong=Wrong(usages=CLIENT, has_odd_extension=True))),
    ),
    Member(
        name="certificate-of-renewed-ca",
        title="Its client CA got a new key under the same name",
        code="client_certificate_rejected",
        message="remote error: tls: error decrypting message",
        behaviour=_strict,
        spec=lambda pki: settings(pki, client=_of_renewed_ca(pki)),
    ),
    Member(
        name="certificate-denied",
        title="Denies access with an alert",
        code="client_certificate_rejected",
        message="remote error: tls: access denied",
        behaviour=lambda _pki: alert(49),
        spec=settings,
    ),
    Member(
        name="certificate-rejected-by-page",
        title="Refuses the client certificate with HTTP 400, as nginx does",
        code="client_certificate_rejected",
        message=_UNKNOWN_CERTIFICATE,
        behaviour=lambda pki: TLSUpstream(
            identity=pki.server(),
            clients=(pki.clients_root,),
            takes_any_client=True,
            response=_page("The SSL certificate error"),
        ),
        spec=lambda pki: settings(pki, client=pki.client(issuer=pki.stranger)),
    ),
    Member(
        name="certificate-rejected-silently",
        title="Closes without a word when it does not like the client certificate, as Node does",
        code="client_certificate_rejected",
        message="EOF",
        behaviour=lambda pki: TLSUpstream(
            identity=pki.server(),
            clients=(pki.clients_root,),
            takes_any_client=True,
            needs_some_client=True,
            talk=hangs_up,
        ),
        spec=lambda pki: settings(pki, client=pki.client(issuer=pki.stranger)),
    ),
    Member(
        name="certificate-rejected-by-reset",
        title="Asks for a certificate and cuts everybody off",
        code="client_certificate_rejected",
        message="read tcp *: connection reset by peer",
        confidence="likely",
        behaviour=lambda pki: TLSUpstream(
            identity=pki.server(), clients=(pki.clients_root,), takes_any_client=True, talk=cuts_off
        ),
        spec=settings,
    ),
)
