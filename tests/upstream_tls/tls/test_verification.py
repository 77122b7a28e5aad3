"""The one builder of upstream TLS sessions: whom it trusts, what it presents, what it says when it refuses.

The name checks are a security promise (docs/adr/0003): a certificate of the trusted CA is not enough.
"""

import datetime
import gc

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL

from tests.support.certificates import CLIENT, Authority, Leaf, expired, not_yet_valid
from tests.support.tls_server import accepting, drain, server_context, shake_hands
from upstream_tls.tls.context import ClientContext, PeerRefused, build_context, identity_digest
from upstream_tls.tls.credentials import CredentialProblem
from upstream_tls.tls.diagnosis import Diagnosis
from upstream_tls.tls.spec import UpstreamTLSSpec

CA = Authority("Upstream CA")
CLIENT_CA = Authority("Client CA")
NAME = "orders.internal"


def context(ca_pem: str = CA.pem, *, client: Leaf | None = None, skip_verify: bool = False) -> ClientContext:
    return build_context(
        UpstreamTLSSpec(
            client_chain_pem=client.chain_pem.encode() if client else b"",
            client_key_pem=client.key_pem.encode() if client else b"",
            ca_pem=ca_pem.encode(),
            skip_verify=skip_verify,
        )
    )


def attempt(
    ours: ClientContext, theirs: SSL.Context | Leaf, address: str = NAME
) -> tuple[Diagnosis | None, SSL.Connection]:
    """Shakes hands: why it failed, if it did, and the server's session."""
    server = accepting(server_context(theirs) if isinstance(theirs, Leaf) else theirs)
    session = ours.open(address)
    if shake_hands(session, server) is None:
        ours.confirm(session)
        return None, server
    return ours.explain(session, first_bytes=b"\x16", peer_closed=False), server


def code(ours: ClientContext, theirs: SSL.Context | Leaf, address: str = NAME) -> str:
    """The code of the failure; empty: none."""
    diagnosis, _ = attempt(ours, theirs, address)
    return diagnosis.code if diagnosis else ""


# Names


@pytest.mark.parametrize(
    ("names", "address"),
    [
        ((NAME,), NAME),
        ((NAME,), NAME.upper()),
        (("other.internal", NAME), NAME),
        (("*.orders.internal",), "a.orders.internal"),
        (("10.0.0.7",), "10.0.0.7"),
        (("2001:db8::7",), "2001:db8::7"),
        (("2001:db8::7",), "2001:0db8:0:0::7"),
    ],
)
def test_certificates_for_the_name_are_accepted(names: tuple[str, ...], address: str) -> None:
    """DNS names, one label of a wildcard, IP addresses."""
    assert code(context(), CA.server(*names), address) == ""


@pytest.mark.parametrize("address", [NAME, "a.x.b", "internal", "8.8.8.8", "10.0.0.7", "::1"])
@pytest.mark.parametrize(
    ("names", "for_name", "for_address"),
    [
        ((), "no_subject_alt_name", "no_subject_alt_name"),
        (("*",), "name_mismatch", "ip_mismatch"),
        (("a.*.b",), "name_mismatch", "ip_mismatch"),
        (("DNS:8.8.8.8",), "name_mismatch", "ip_mismatch"),
        (("*.internal",), "name_mismatch", "ip_mismatch"),  # too wide: two labels must follow
        (("*.*.internal",), "name_mismatch", "ip_mismatch"),
        (("ord*.internal",), "name_mismatch", "ip_mismatch"),
        (("other.internal",), "name_mismatch", "ip_mismatch"),
        (("9.9.9.9",), "name_mismatch", "ip_mismatch"),
    ],
)
def test_certificates_of_the_trusted_ca_without_the_name_are_refused(
    names: tuple[str, ...], for_name: str, for_address: str, address: str
) -> None:
    """No name at all, a name that nobody may have, or another one: refused for any address, each with its code."""
    expected = for_address if address[0].isdigit() or ":" in address else for_name
    assert code(context(), CA.server(*names), address) == expected


def test_the_common_name_is_no_name() -> None:
    """As in every browser and in Go."""
    leaf = CA.issue(NAME, usages=(ExtendedKeyUsageOID.SERVER_AUTH,))
    diagnosis, _ = attempt(context(), leaf)
    assert diagnosis is not None
    assert diagnosis.code == "no_subject_alt_name"
    assert diagnosis.message == "x509: certificate relies on legacy Common Name field, use SANs instead"


def test_a_wildcard_stands_for_one_label() -> None:
    """RFC 9525 section 6.3."""
    leaf = CA.server("*.orders.internal")
    assert code(context(), leaf, "a.b.orders.internal") == "name_mismatch"
    assert code(context(), leaf, "orders.internal") == "name_mismatch"


def test_mismatch_lists_the_names_in_one_line() -> None:
    """A stranger wrote them: none can end a log line."""
    diagnosis, _ = attempt(context(), CA.server("a.test", "evil\nERROR forged"), NAME)
    assert diagnosis is not None
    assert diagnosis.code == "name_mismatch"
    assert diagnosis.message == rf"x509: certificate is valid for a.test, evil\nERROR forged, not {NAME}"


def test_server_name_override_is_sent_and_checked() -> None:
    """The override replaces the address in both places."""
    ours = build_context(UpstreamTLSSpec(ca_pem=CA.pem.encode(), server_name=NAME))
    diagnosis, server = attempt(ours, CA.server(NAME), "10.0.0.7")
    assert diagnosis is None
    assert server.get_servername() == NAME.encode()
    assert code(ours, CA.server("10.0.0.7"), "10.0.0.7") == "name_mismatch"


def test_no_server_name_for_ip_addresses() -> None:
    """RFC 6066 section 3."""
    for address in ("10.0.0.7", "::1"):
        diagnosis, server = attempt(context(), CA.server(address), address)
        assert diagnosis is None
        assert server.get_servername() is None


def test_a_session_that_checked_no_name_is_not_confirmed() -> None:
    """Fails closed, whatever OpenSSL may do one day."""
    ours = context()
    with pytest.raises(PeerRefused, match="the upstream's certificate was not checked"):
        ours.confirm(ours.open(NAME))


def test_a_certificate_that_cannot_be_looked_at_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a hostile certificate makes a parser raise is a refusal, and no exception escapes the handshake."""

    def broken(*_: object) -> None:
        raise RuntimeError("parser")

    monkeypatch.setattr("OpenSSL.crypto.X509.to_cryptography", broken)
    ours = context()
    session = ours.open(NAME)
    assert isinstance(shake_hands(session, accepting(server_context(CA.server(NAME)))), SSL.Error)
    with pytest.raises(PeerRefused):
        ours.confirm(session)


# Chains


@pytest.mark.parametrize(
    ("leaf", "expected"),
    [
        (CA.server(NAME, **expired()), "expired"),
        (CA.server(NAME, **not_yet_valid()), "not_yet_valid"),
        (CA.server(NAME, usages=CLIENT), "wrong_purpose"),
        (CA.server(NAME, usages=()), ""),
        (Authority("Stranger").server(NAME), "unknown_authority"),
    ],
)
def test_chain_problems(leaf: Leaf, expected: str) -> None:
    """Each with its code; a certificate without any usage extension is good."""
    assert code(context(), leaf) == expected


def test_self_signed() -> None:
    """Told apart from a certificate of an unknown CA."""
    stranger = Authority(NAME)
    leaf = Leaf(certificate=stranger.certificate, chain_pem=stranger.pem, key=stranger.key)
    assert code(context(), leaf) == "self_signed"


def test_the_first_error_stands() -> None:
    """Of a chain with several faults the one that OpenSSL meets first is told, with our refusal before the alert."""
    leaf = Authority("Stranger").server("other.internal", **expired())
    assert code(context(), leaf) == "unknown_authority"


def test_intermediate_not_sent() -> None:
    """The chain cannot be built."""
    leaf = Authority("Intermediate", parent=CA).server(NAME)
    alone = Leaf(certificate=leaf.certificate, chain_pem=leaf.chain_pem.partition("-----END")[0], key=leaf.key)
    server = server_context(leaf)
    assert code(context(), server) == ""
    bare = SSL.Context(SSL.TLS_SERVER_METHOD)
    bare.use_certificate(alone.certificate)
    bare.use_privatekey(alone.key)
    assert code(context(), bare) == "unknown_authority"


def test_any_certificate_can_be_the_anchor() -> None:
    """A configured CA is trusted as it stands: root, intermediate, or the upstream's own certificate."""
    intermediate = Authority("Intermediate", parent=CA)
    leaf = intermediate.server(NAME)
    own = leaf.chain_pem.partition("-----END CERTIFICATE-----\n")
    for anchor in (CA.pem, intermediate.pem, own[0] + own[1], Authority().pem + CA.pem):
        assert code(context(anchor), leaf) == ""
        assert code(context(anchor), Authority("Upstream CA").server(NAME)) != ""
    # Also then the name counts, and the dates.
    assert code(context(own[0] + own[1]), leaf, "other.internal") == "name_mismatch"
    old = CA.server(NAME, **expired())
    assert code(context(old.chain_pem), old) == "expired"


def test_skip_verify_accepts_anything() -> None:
    """Development only, and only when it was asked for."""
    for leaf in (Authority("Stranger").server("x"), CA.server(NAME, **expired()), CA.server(NAME, usages=CLIENT)):
        assert code(context(skip_verify=True), leaf) == ""


def test_empty_ca_means_the_system_trust_store() -> None:
    """A private CA is not in it."""
    assert code(context(""), CA.server(NAME)) in ("unknown_authority", "self_signed")


# Our certificate


def test_client_certificate_is_presented_with_its_chain() -> None:
    """The intermediate goes along, so that an upstream which knows the root alone accepts it."""
    client = Authority("Client intermediate", parent=CLIENT_CA).client("aegis")
    server = server_context(CA.server(NAME), client_ca_pem=CLIENT_CA.pem)
    diagnosis, session = attempt(context(client=client), server)
    assert diagnosis is None
    certificate = session.get_peer_certificate(as_cryptography=True)
    assert certificate == client.certificate


@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
@pytest.mark.parametrize(
    ("client", "expected"),
    [
        (None, "client_certificate_required"),
        (Authority("Stranger").client(), "client_certificate_untrusted"),
        (CLIENT_CA.client(**expired()), "client_certificate_expired"),
        (CLIENT_CA.client(usages=(ExtendedKeyUsageOID.SERVER_AUTH,)), "client_certificate_wrong_purpose"),
    ],
)
def test_rejections_by_the_upstream(version: int, client: Leaf | None, expected: str) -> None:
    """The alert that was read tells what is wrong with us; in TLS 1.3 it comes with the first read."""
    server = server_context(CA.server(NAME), client_ca_pem=CLIENT_CA.pem)
    server.set_max_proto_version(version)
    assert code(context(client=client), server) == expected


def test_close_notify_is_no_complaint() -> None:
    """An upstream that ends the session in order closed the connection; that alert is no verdict."""
    ours, server = context(), accepting(server_context(CA.server(NAME)))
    session = ours.open(NAME)
    assert shake_hands(session, server) is None
    server.shutdown()
    session.bio_write(drain(server))
    with pytest.raises(SSL.ZeroReturnError):
        session.recv(1)
    diagnosis = ours.explain(session, first_bytes=b"\x16\x03", peer_closed=True)
    assert (diagnosis.code, diagnosis.message) == ("connection_closed", "EOF")


def test_credentials_that_do_not_fit_make_no_context() -> None:
    """Code and Go's wording."""
    one, two = CLIENT_CA.client(), CLIENT_CA.client()
    mixed = Leaf(certificate=one.certificate, chain_pem=one.chain_pem, key=two.key)
    with pytest.raises(CredentialProblem) as caught:
        context(client=mixed)
    assert (caught.value.code, caught.value.message) == (
        "key_mismatch",
        "tls: private key does not match public key",
    )


# Protocol


def test_plain_http_on_the_port() -> None:
    """Told by the first byte, not by OpenSSL's text."""
    ours = context()
    session = ours.open(NAME)
    with pytest.raises(SSL.WantReadError):
        session.do_handshake()
    session.bio_write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(SSL.Error):
        session.do_handshake()
    assert ours.explain(session, first_bytes=b"HTTP/", peer_closed=False).code == "not_tls"


def test_old_versions_are_refused() -> None:
    """TLS 1.2 at least."""
    server = server_context(CA.server(NAME), minimum=SSL.TLS1_VERSION)
    server.set_cipher_list(b"DEFAULT@SECLEVEL=0")
    server.set_max_proto_version(SSL.TLS1_1_VERSION)
    assert code(context(), server) == "protocol_version"


def test_http_11_is_offered() -> None:
    """An upstream that speaks both must not answer in HTTP/2."""
    theirs = server_context(CA.server(NAME))
    offered: list[list[bytes]] = []

    def select(_: SSL.Connection, protocols: list[bytes]) -> bytes:
        offered.append(protocols)
        return protocols[0]

    theirs.set_alpn_select_callback(select)
    assert code(context(), theirs) == ""
    assert offered == [[b"http/1.1"]]


# Identity


def test_digest_differs_with_everything_that_makes_an_identity() -> None:
    """And is the same for the same."""
    base = {"client_chain_pem": b"a", "client_key_pem": b"k", "ca_pem": b"b", "skip_verify": False, "server_name": "s"}
    changed = [{"client_chain_pem": b"x"}, {"ca_pem": b"x"}, {"skip_verify": True}, {"server_name": "x"}]
    moved = {"client_chain_pem": b"ab", "ca_pem": b""}
    specs = [UpstreamTLSSpec(**{**base, **change}) for change in [{}, *changed, moved]]  # type: ignore[arg-type]
    assert len({identity_digest(spec) for spec in specs}) == len(specs)
    assert identity_digest(specs[0]) == identity_digest(UpstreamTLSSpec(**base))  # type: ignore[arg-type]


def test_the_key_is_in_no_repr() -> None:
    """Neither of the spec nor of the context."""
    spec = UpstreamTLSSpec(client_chain_pem=b"c", client_key_pem=b"secret")
    assert "secret" not in repr(spec)
    assert "PRIVATE" not in repr(context(client=CLIENT_CA.client()))


def test_sessions_are_freed() -> None:
    """A session leaves nothing behind in its context: no cycle, no callback state."""
    ours, theirs = context(), server_context(CA.server(NAME))

    gc.freeze()  # what was there before is not among gc.get_objects()
    try:
        for _ in range(5):
            assert code(ours, theirs) == ""
        gc.collect()
        # By type: `isinstance` would ask a weak proxy of another test for the class of what is gone.
        assert [each for each in gc.get_objects() if issubclass(type(each), SSL.Connection)] == []
    finally:
        gc.unfreeze()


def test_certificates_of_this_test_are_good_for_a_while() -> None:
    """Otherwise every test above would pass for the wrong reason."""
    assert CA.server(NAME).certificate.not_valid_after_utc > datetime.datetime.now(datetime.UTC)
