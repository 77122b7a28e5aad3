"""The one builder: what a spec means for a session."""

import dataclasses
import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from tests.upstream_tls.tls.pump import ADDRESS, shake_hands
from upstream_tls.tls.context import PeerRefused, SharedContexts, build_context, identity_digest
from upstream_tls.tls.material import SpecProblem
from upstream_tls.tls.peer import spki_sha256
from upstream_tls.tls.spec import UpstreamTLSSpec
from upstream_tls.zoo.member import settings
from upstream_tls.zoo.pki import PKI, SERVER, SERVER_NAME, Identity, Wrong, pem
from upstream_tls.zoo.servers import TLSUpstream

NOW = datetime.datetime.now(datetime.UTC)


@pytest.fixture(scope="module")
def pki() -> PKI:
    return PKI(b"tests of the builder", NOW)


OTHER_VALUES = {
    "client_chain_pem": b"x",
    "ca_pem": b"x",
    "skip_verify": True,
    "server_name": "x",
    "verify_name": "x",
    "min_version": "TLSv1.3",
    "max_version": "TLSv1.2",
    "ciphers": "x",
    "alpn": ("x",),
    "crl_pem": b"x",
    "pinned_spki_sha256": ("x",),
    "verify_depth": 1,
}


def test_every_field_makes_another_identity() -> None:
    """Each field of the spec but the key, which counts through its certificate, changes the digest."""
    names = {field.name for field in dataclasses.fields(UpstreamTLSSpec)}
    assert names - {"client_key_pem"} == set(OTHER_VALUES)
    digests = [identity_digest(dataclasses.replace(UpstreamTLSSpec(), **{k: v})) for k, v in OTHER_VALUES.items()]
    assert len({identity_digest(UpstreamTLSSpec()), *digests}) == len(OTHER_VALUES) + 1
    assert identity_digest(UpstreamTLSSpec(client_key_pem=b"x")) == identity_digest(UpstreamTLSSpec())


def test_values_do_not_run_into_each_other() -> None:
    """Where one value ends and the next begins is part of the digest."""
    one = UpstreamTLSSpec(server_name="ab", verify_name="c")
    other = UpstreamTLSSpec(server_name="a", verify_name="bc")
    assert identity_digest(one) != identity_digest(other)


def test_address_that_tls_cannot_send_is_a_problem(pki: PKI) -> None:
    """A name with letters outside ASCII or without an end."""
    context = build_context(settings(pki, server_name=""))
    for address in ("bücher.test", "x" * 300):
        with pytest.raises(SpecProblem):
            context.open(address)


@pytest.mark.parametrize(
    ("server_name", "address", "sni"),
    [
        ("", "a.test", b"a.test"),
        ("", "a.test.", b"a.test"),
        ("b.test", "a.test", b"b.test"),
        ("b.test", "10.0.0.7", b"b.test"),
        ("", "10.0.0.7", None),
        ("", "::1", None),
        ("10.0.0.7", "a.test", None),
    ],
)
def test_server_name_is_sent_unless_it_is_an_ip_address(
    pki: PKI, server_name: str, address: str, sni: bytes | None
) -> None:
    """The override, else the address; RFC 6066 permits no IP literals and no trailing dot."""
    context = build_context(settings(pki, server_name=server_name, skip_verify=True))
    outcome = shake_hands(context, TLSUpstream(identity=pki.server()), address)
    assert outcome.error is None
    assert outcome.server.get_servername() == sni


def test_verify_name_is_checked_in_place_of_the_server_name(pki: PKI) -> None:
    """SNI and the name in the certificate may differ."""
    context = build_context(settings(pki, server_name="front.test", verify_name=SERVER_NAME))
    outcome = shake_hands(context, TLSUpstream(identity=pki.server()))
    assert outcome.error is None
    assert outcome.server.get_servername() == b"front.test"


@pytest.mark.parametrize("names", [(), ("*",), ("a.*.internal",), ("*.internal",), ("zoo.*",), ("zoo.interna",)])
def test_certificate_of_the_trusted_ca_without_a_usable_name_is_refused(pki: PKI, names: tuple[str, ...]) -> None:
    """The cases that Twisted's own options accept."""
    identity = pki.server(wrong=Wrong(names=names))
    outcome = shake_hands(build_context(settings(pki)), TLSUpstream(identity=identity))
    assert outcome.error is not None
    assert outcome.error.code in ("name_mismatch", "no_subject_alt_name")


def test_ip_address_as_dns_name_is_refused(pki: PKI) -> None:
    """`8.8.8.8` as a DNS name is neither that address nor a name."""
    identity = _with_alternative_names(pki, [x509.DNSName("8.8.8.8")])
    for address in ("8.8.8.8", SERVER_NAME):
        outcome = shake_hands(build_context(settings(pki, server_name="")), TLSUpstream(identity=identity), address)
        assert outcome.error is not None


def test_odd_uri_beside_the_right_name_does_no_harm(pki: PKI) -> None:
    """OPC UA servers have `urn:` URIs in their certificates, which service_identity cannot read."""
    names = [x509.UniformResourceIdentifier("urn:host:app:7"), x509.DNSName(SERVER_NAME)]
    outcome = shake_hands(build_context(settings(pki)), TLSUpstream(identity=_with_alternative_names(pki, names)))
    assert outcome.error is None


def test_two_cas_in_the_bundle_verify_upstreams_of_both(pki: PKI) -> None:
    """The bundle may hold several."""
    both = pem(pki.root.certificate) + pem(pki.stranger.certificate)
    context = build_context(settings(pki, ca_pem=both))
    for issuer in (pki.root, pki.stranger):
        assert shake_hands(context, TLSUpstream(identity=pki.server(issuer=issuer))).error is None


def test_intermediate_or_leaf_can_be_trusted_as_it_stands(pki: PKI) -> None:
    """What is configured is an anchor, whatever is above it."""
    leaf = pki.server(issuer=pki.intermediate)
    for anchor in (pki.intermediate.certificate, leaf.certificate):
        context = build_context(settings(pki, ca_pem=pem(anchor)))
        assert shake_hands(context, TLSUpstream(identity=leaf.alone)).error is None


def test_client_chain_goes_out_with_its_intermediates(pki: PKI) -> None:
    """Leaf first, then what is above it."""
    client = pki.client(issuer=pki.authority("Client intermediate", issuer=pki.clients_root))
    upstream = TLSUpstream(identity=pki.server(), clients=(pki.clients_root,))
    outcome = shake_hands(build_context(settings(pki, client=client)), upstream)
    assert outcome.server.get_peer_certificate(as_cryptography=True) == client.certificate
    assert outcome.server.get_peer_cert_chain(as_cryptography=True) == list(client.above)  # a server's lacks the leaf


def test_cipher_list_is_used(pki: PKI) -> None:
    """For TLS 1.2."""
    name = "ECDHE-ECDSA-CHACHA20-POLY1305"
    context = build_context(settings(pki, max_version="TLSv1.2", ciphers=name))
    outcome = shake_hands(context, TLSUpstream(identity=pki.server()))
    assert outcome.client.get_cipher_name() == name


def test_alpn_is_offered_in_order_and_may_be_empty(pki: PKI) -> None:
    """The upstream chooses among what is configured."""
    for offered, chosen in ((("http/1.1",), b"http/1.1"), (("x", "y"), b"y"), ((), b"")):
        context = build_context(settings(pki, alpn=offered))
        outcome = shake_hands(context, TLSUpstream(identity=pki.server(), alpn=chosen or None))
        assert outcome.client.get_alpn_proto_negotiated() == chosen


def test_pin_of_any_certificate_of_the_verified_chain_counts(pki: PKI) -> None:
    """The leaf's, the intermediate's or the root's key."""
    leaf = pki.server(issuer=pki.intermediate)
    for pinned in (leaf.certificate, pki.intermediate.certificate, pki.root.certificate):
        context = build_context(settings(pki, pinned_spki_sha256=("0" * 64, spki_sha256(pinned))))
        assert shake_hands(context, TLSUpstream(identity=leaf)).error is None


def test_pins_hold_without_verification_and_only_for_the_leaf(pki: PKI) -> None:
    """Without verification anybody may put the pinned CA beside a leaf of their own; the leaf's key was proven."""
    pin = spki_sha256(pki.root.certificate)
    impostor = pki.server(issuer=pki.stranger)
    forged = Identity(certificate=impostor.certificate, key=impostor.key, above=(pki.root.certificate,))
    context = build_context(settings(pki, skip_verify=True, pinned_spki_sha256=(pin,)))
    outcome = shake_hands(context, TLSUpstream(identity=forged))
    assert outcome.error is not None
    assert outcome.error.code == "pin_mismatch"
    leaf_pin = spki_sha256(impostor.certificate)
    context = build_context(settings(pki, skip_verify=True, pinned_spki_sha256=(leaf_pin,)))
    assert shake_hands(context, TLSUpstream(identity=forged)).error is None


def test_crls_are_demanded_of_the_path_and_not_of_the_anchor(pki: PKI) -> None:
    """With an intermediate as anchor its own list is enough; with the root as anchor the root's is needed too."""
    leaf = pki.server(issuer=pki.intermediate)
    own = pki.crl(pki.intermediate).public_bytes(Encoding.PEM)
    roots = pki.crl(pki.root).public_bytes(Encoding.PEM)
    for anchor, lists, code in (
        (pki.intermediate, own, ""),
        (pki.root, own, "crl_unavailable"),
        (pki.root, own + roots, ""),
    ):
        context = build_context(settings(pki, ca=anchor, crl_pem=lists))
        error = shake_hands(context, TLSUpstream(identity=leaf)).error
        assert (error.code if error else "") == code


def test_verify_depth_counts_intermediates(pki: PKI) -> None:
    """0: none may stand between the leaf and the anchor."""
    leaf = pki.server(issuer=pki.intermediate)
    assert shake_hands(build_context(settings(pki, verify_depth=1)), TLSUpstream(identity=leaf)).error is None
    error = shake_hands(build_context(settings(pki, verify_depth=0)), TLSUpstream(identity=leaf)).error
    assert error is not None
    assert error.code == "unknown_authority" or "verify error 22" in error.message


def test_session_that_was_never_checked_is_not_confirmed(pki: PKI) -> None:
    """The last gate, should the callback ever not have been called."""
    for skip_verify in (False, True):
        context = build_context(settings(pki, skip_verify=skip_verify))
        with pytest.raises(PeerRefused):
            context.confirm(context.open(ADDRESS))


def test_upstreams_verdict_counts_when_verification_is_off(pki: PKI) -> None:
    """What verification would have said is no reason for a failure that the upstream decided."""
    context = build_context(
        settings(
            pki, skip_verify=True, server_name="x.test", max_version="TLSv1.2", client=pki.client(issuer=pki.stranger)
        )
    )
    upstream = TLSUpstream(identity=pki.server(issuer=pki.stranger), clients=(pki.clients_root,))
    error = shake_hands(context, upstream).error
    assert error is not None
    assert error.code == "client_certificate_untrusted"


def test_equal_specs_share_a_context_and_names_alone_cost_little(pki: PKI) -> None:
    """Whatever is not a name makes another one; nothing is kept that nobody uses."""
    shared = SharedContexts()
    spec = UpstreamTLSSpec(ca_pem=pem(pki.root.certificate))
    context = shared.get(spec)
    assert shared.get(dataclasses.replace(spec)) is context
    named = shared.get(dataclasses.replace(spec, server_name="a.test", verify_name="b.test"))
    assert named.digest != context.digest
    assert (named.server_name(ADDRESS), named.spec.verify_name) == ("a.test", "b.test")
    assert named.credentials is context.credentials
    assert named.digest == build_context(named.spec).digest
    strict = shared.get(dataclasses.replace(spec, min_version="TLSv1.3"))
    assert strict.credentials is not context.credentials
    del context, named, strict
    assert not len(shared)


def test_bad_name_is_refused_beside_a_context_that_is_there(pki: PKI) -> None:
    """Sharing does not skip a check."""
    shared = SharedContexts()
    spec = UpstreamTLSSpec(ca_pem=pem(pki.root.certificate))
    kept = shared.get(spec)
    with pytest.raises(SpecProblem):
        shared.get(dataclasses.replace(spec, verify_name="a b"))
    assert shared.get(spec) is kept


def test_context_of_another_system_trust_store_is_not_used(
    pki: PKI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CA that the system trusts no longer must not live on in what is shared."""
    contexts = []
    shared = SharedContexts()
    for name in ("old.pem", "new.pem"):
        (tmp_path / name).write_bytes(pem(pki.root.certificate))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / name))
        contexts.append(shared.get(UpstreamTLSSpec()))
    old, new = contexts
    assert old is not new
    assert old.credentials is not new.credentials


def _with_alternative_names(pki: PKI, names: list[x509.GeneralName]) -> Identity:
    key = pki.key("odd names")
    subject = x509.Name([])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(pki.root.certificate.subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW - datetime.timedelta(days=1))
        .not_valid_after(NOW + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=True)
        .add_extension(x509.ExtendedKeyUsage(SERVER), critical=False)
    )
    return Identity(certificate=builder.sign(pki.root.key, hashes.SHA256()), key=key)  # type: ignore[arg-type]
