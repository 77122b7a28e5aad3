"""Members whose own certificate is wrong, or good: what Aegis judges."""

from cryptography.hazmat.primitives.serialization import Encoding

from upstream_tls.zoo.member import Member, settings
from upstream_tls.zoo.pki import CLIENT, DAY, PKI, Identity, Wrong, rsa_key, signed_with_sha1
from upstream_tls.zoo.servers import Behaviour, TLSUpstream

SPIFFE_ID = "spiffe://zoo.internal/orders"

_WEAK = b"ALL:@SECLEVEL=0"
_UNKNOWN = "x509: certificate signed by unknown authority"
_ANY_PIN = "0" * 64


def _with(identity: Identity, pki: PKI, ciphers: bytes = b"") -> Behaviour:
    return TLSUpstream(identity=identity, clients=(pki.clients_root,), ciphers=ciphers)


def _weakly_signed(pki: PKI) -> Identity:
    key = rsa_key(2048)
    issuer = pki.authority("Zoo RSA CA", issuer=pki.root, wrong=Wrong(key=key))
    leaf = pki.server(issuer=issuer)
    certificate = signed_with_sha1(leaf.certificate, key)
    return Identity(certificate=certificate, key=leaf.key, above=leaf.above)


def _too_deep(pki: PKI) -> Identity:
    outer = pki.authority("Zoo outer CA", issuer=pki.root, wrong=Wrong(path_length=0))
    return pki.server(issuer=pki.authority("Zoo inner CA", issuer=outer))


def _issued_by_leaf(pki: PKI) -> Identity:
    issuer = pki.server("not-a-ca.internal")
    return pki.server(issuer=Identity(certificate=issuer.certificate, key=issuer.key))


def _known_intermediate(pki: PKI) -> Identity:
    """A client certificate of the same intermediate, which makes the intermediate known to Aegis."""
    return pki.client(issuer=pki.intermediate)


MEMBERS = (
    Member(
        name="good",
        title="Demands a client certificate of the zoo's client CA and answers 200",
        behaviour=lambda pki: _with(pki.server(), pki),
        spec=settings,
    ),
    Member(
        name="good-chain",
        title="Sends its intermediate as well",
        behaviour=lambda pki: _with(pki.server(issuer=pki.intermediate), pki),
        spec=settings,
    ),
    Member(
        name="good-ip",
        title="Its certificate holds its IP address",
        behaviour=lambda pki: _with(pki.server(wrong=Wrong(names=("127.0.0.1",))), pki),
        spec=lambda pki: settings(pki, server_name=""),
    ),
    Member(
        name="good-spiffe",
        title="Its certificate holds a SPIFFE ID, which the host demands",
        behaviour=lambda pki: _with(pki.server(wrong=Wrong(names=(SPIFFE_ID,))), pki),
        spec=lambda pki: settings(pki, verify_name=SPIFFE_ID),
    ),
    Member(
        name="unknown-authority",
        title="Its certificate is from a CA that is not configured",
        code="unknown_authority",
        message=_UNKNOWN,
        behaviour=lambda pki: _with(pki.server(issuer=pki.stranger), pki),
        spec=settings,
    ),
    Member(
        name="unknown-root-sent",
        title="Sends its own, unknown root along",
        code="unknown_authority",
        message=_UNKNOWN,
        behaviour=lambda pki: _with(
            Identity(
                certificate=pki.server(issuer=pki.stranger).certificate,
                key=pki.server(issuer=pki.stranger).key,
                above=(pki.stranger.certificate,),
            ),
            pki,
        ),
        spec=settings,
    ),
    Member(
        name="self-signed",
        title="Its certificate is self-signed",
        code="self_signed",
        message=_UNKNOWN,
        behaviour=lambda pki: _with(pki.self_signed(), pki),
        spec=settings,
    ),
    Member(
        name="missing-intermediate",
        title="Does not send its intermediate, which is known from the client certificate",
        code="missing_intermediate",
        message=_UNKNOWN,
        confidence="likely",
        behaviour=lambda pki: _with(pki.server(issuer=pki.intermediate).alone, pki),
        spec=lambda pki: settings(pki, client=_known_intermediate(pki)),
    ),
    Member(
        name="expired",
        title="Its certificate is over since yesterday",
        code="expired",
        message="x509: certificate has expired or is not yet valid: current time *Z is after *Z",
        behaviour=lambda pki: _with(pki.server(wrong=Wrong(starts=-30 * DAY, ends=-DAY)), pki),
        spec=settings,
    ),
    Member(
        name="expired-intermediate",
        title="Its intermediate is over since yesterday",
        code="expired",
        message="x509: certificate has expired or is not yet valid: current time *Z is after *Z",
        behaviour=lambda pki: _with(
            pki.server(
                issuer=pki.authority("Zoo old CA", issuer=pki.root, wrong=Wrong(starts=-30 * DAY, ends=-DAY)),
            ),
            pki,
        ),
        spec=settings,
    ),
    Member(
        name="not-yet-valid",
        title="Its certificate is valid from next year",
        code="not_yet_valid",
        message="x509: certificate has expired or is not yet valid: current time *Z is before *Z",
        behaviour=lambda pki: _with(pki.server(wrong=Wrong(starts=365 * DAY)), pki),
        spec=settings,
    ),
    Member(
        name="name-mismatch",
        title="Its certificate is for other names",
        code="name_mismatch",
        message="x509: certificate is valid for a.internal, b.internal, not zoo.internal",
        behaviour=lambda pki: _with(pki.server(wrong=Wrong(names=("a.internal", "b.internal"))), pki),
        spec=settings,
    ),
    Member(
        name="too-wide-wildcard",
        title="Its certificate is for *, which counts for nothing",
        code="name_mismatch",
        message="x509: certificate is valid for *, not zoo.internal",
        behaviour=lambda pki: _with(pki.server(wrong=Wrong(names=("*",))), pki),
        spec=settings,
    ),
    Member(
        name="spiffe-mismatch",
        title="Its SPIFFE ID is another workload's",
        code="name_mismatch",
        message=f"x509: certificate is valid for spiffe://zoo.internal/invoices, not {SPIFFE_ID}",
        behaviour=lambda pki: _with(pki.server(wrong=Wrong(names=("spiffe://zoo.internal/invoices",))), pki),
        spec=lambda pki: settings(pki, verify_name=SPIFFE_ID),
    ),
    Member(
        name="ip-mismatch",
        title="Is addressed by IP, and its certificate holds names only",
        code="ip_mismatch",
        message="x509: cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs",
        behaviour=lambda pki: _with(pki.server(), pki),
        spec=lambda pki: settings(pki, server_name=""),
    ),
    Member(
        name="common-name-only",
        title="Its certificate has a common name and no subject alternative name",
        code="no_subject_alt_name",
        message="x509: certificate relies on legacy Common Name field, use SANs instead",
        behaviour=lambda pki: _with(pki.server(wrong=Wrong(names=())), pki),
        spec=settings,
    ),
    Member(
        name="wrong-purpose",
        title="Serves with a client's certificate",
        code="wrong_purpose",
        message="x509: certificate specifies an incompatible key usage",
        behaviour=lambda pki: _with(pki.server(wrong=Wrong(usages=CLIENT)), pki),
        spec=settings,
    ),
    Member(
        name="weak-key",
        title="Its key has 1024 bits",
        code="weak_key",
        message="x509: certificate key too weak",
        behaviour=lambda pki: _with(pki.server(wrong=Wrong(key=rsa_key(1024))), pki, _WEAK),
        spec=settings,
    ),
    Member(
        name="weak-signature",
        title="Its certificate is signed with SHA-1",
        code="weak_signature",
        message="x509: certificate signature algorithm too weak",
        behaviour=lambda pki: _with(_weakly_signed(pki), pki, _WEAK),
        spec=settings,
    ),
    Member(
        name="revoked",
        title="Its certificate is on its CA's revocation list",
        code="revoked",
        message="x509: certificate revoked",
        behaviour=lambda pki: _with(pki.server(), pki),
        spec=lambda pki: settings(
            pki, crl_pem=pki.crl(pki.root, (pki.server().certificate,)).public_bytes(Encoding.PEM)
        ),
    ),
    Member(
        name="crl-unavailable",
        title="There is a revocation list, and it is another CA's",
        code="crl_unavailable",
        message="x509: no certificate revocation list for CA",
        behaviour=lambda pki: _with(pki.server(), pki),
        spec=lambda pki: settings(pki, crl_pem=pki.crl(pki.stranger).public_bytes(Encoding.PEM)),
    ),
    Member(
        name="crl-expired",
        title="Its CA's revocation list is over",
        code="crl_expired",
        message="x509: certificate revocation list has expired",
        behaviour=lambda pki: _with(pki.server(), pki),
        spec=lambda pki: settings(pki, crl_pem=pki.crl(pki.root, ends=-DAY).public_bytes(Encoding.PEM)),
    ),
    Member(
        name="path-too-long",
        title="An intermediate above it may have no intermediate below it",
        code="chain_invalid",
        message="x509: path length constraint exceeded (verify error 25)",
        behaviour=lambda pki: _with(_too_deep(pki), pki),
        spec=settings,
    ),
    Member(
        name="issued-by-leaf",
        title="Its certificate was signed with a certificate that is no CA's",
        code="chain_invalid",
        message="x509: invalid CA certificate (verify error 79)",
        behaviour=lambda pki: _with(
            Identity(
                certificate=_issued_by_leaf(pki).certificate,
                key=_issued_by_leaf(pki).key,
                above=(pki.server("not-a-ca.internal").certificate,),
            ),
            pki,
        ),
        spec=settings,
    ),
    Member(
        name="pin-mismatch",
        title="Another key than this one is pinned",
        code="pin_mismatch",
        message="pinned public key does not match",
        behaviour=lambda pki: _with(pki.server(), pki),
        spec=lambda pki: settings(pki, pinned_spki_sha256=(_ANY_PIN,)),
    ),
)
