"""What CAs permit beneath them, compared with what OpenSSL accepts."""

import datetime
import ipaddress
from collections.abc import Sequence

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import crypto

from localca.permitted import CLIENT_AUTH, SERVER_AUTH, NameConstraints, purposes_of

NOW = datetime.datetime(2026, 5, 1, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
ROOT_KEY, KEY = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
ROOT_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Root")])
ORG = x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Org")])


def dns(name: str) -> x509.GeneralName:
    return x509.DNSName(name)


def uri(text: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(text)


def ip(address: str) -> x509.GeneralName:
    return x509.IPAddress(ipaddress.ip_address(address))


def net(network: str) -> x509.GeneralName:
    return x509.IPAddress(ipaddress.ip_network(network))


def certificate(
    subject: x509.Name, key: ec.EllipticCurvePrivateKey, *extensions: x509.ExtensionType
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(ROOT_NAME)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(ROOT_KEY, hashes.SHA256())


def root(
    permitted: Sequence[x509.GeneralName] = (), excluded: Sequence[x509.GeneralName] = (), *more: x509.ExtensionType
) -> x509.Certificate:
    constraints = [x509.NameConstraints(permitted or None, excluded or None)] if permitted or excluded else []
    return certificate(ROOT_NAME, ROOT_KEY, x509.BasicConstraints(ca=True, path_length=None), *constraints, *more)


def openssl_accepts(ca: x509.Certificate, subject: x509.Name, names: Sequence[x509.GeneralName]) -> bool:
    leaf = certificate(subject, KEY, x509.SubjectAlternativeName(names))
    store = crypto.X509Store()
    store.add_cert(crypto.X509.from_cryptography(ca))
    store.set_time(NOW)
    try:
        crypto.X509StoreContext(store, crypto.X509.from_cryptography(leaf)).verify_certificate()
    except crypto.X509StoreContextError:
        return False
    return True


# A subtree, a name, and whether the name lies in it.
IN_OR_OUT = [
    (dns("example.org"), dns("orders.example.org"), True),
    (dns("example.org"), dns("a.b.EXAMPLE.org"), True),
    (dns("example.org"), dns("example.org"), True),
    (dns("example.org"), dns("*.example.org"), True),
    (dns("example.org"), dns("badexample.org"), False),
    (dns("example.org"), dns("example.com"), False),
    (dns(".example.org"), dns("orders.example.org"), True),
    (dns(".example.org"), dns("badexample.org"), False),
    (dns(""), dns("anything.test"), True),
    (net("10.0.0.0/8"), ip("10.9.8.7"), True),
    (net("10.0.0.0/8"), ip("11.0.0.1"), False),
    (net("10.0.0.0/8"), ip("2001:db8::1"), False),
    (net("2001:db8::/32"), ip("2001:db8:1::1"), True),
    (uri("example.org"), uri("spiffe://example.org/orders"), True),
    (uri("example.org"), uri("https://EXAMPLE.org:8443/orders"), True),
    (uri("example.org"), uri("spiffe://orders.example.org/x"), False),
    (uri(".example.org"), uri("spiffe://orders.example.org/x"), True),
    (uri(".example.org"), uri("spiffe://example.org/x"), False),
]


@pytest.mark.parametrize(("base", "name", "is_in"), IN_OR_OUT)
def test_permitted_and_excluded(base: x509.GeneralName, name: x509.GeneralName, is_in: bool) -> None:
    """Permitted: what lies in the subtree, and nothing else of its kind. Excluded: the other way round."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "orders")])
    for ca, is_good in ((root(permitted=[base]), is_in), (root(excluded=[base]), not is_in)):
        refusals = NameConstraints((ca,)).refusals(subject, [name])
        assert [refusal.is_subject for refusal in refusals] == ([] if is_good else [False])
        assert openssl_accepts(ca, subject, [name]) is is_good


# Where stacks differ, or nothing can be compared: refused, whatever one of them says.
STRICTER = [
    (root(excluded=[dns("secret.example.org")]), dns("*.example.org")),
    (root(excluded=[dns(".example.org")]), dns("*.example.org")),
    (root(permitted=[uri(".example.org")]), uri("urn:uuid:0f5a1c1e-2b3d-4e5f-8a9b-0c1d2e3f4a5b")),
    (root(excluded=[uri("example.org")]), uri("urn:uuid:0f5a1c1e-2b3d-4e5f-8a9b-0c1d2e3f4a5b")),
    (root(permitted=[uri("10.0.0.7")]), uri("https://10.0.0.7/x")),
    (root(excluded=[uri("")]), uri("https://example.org/x")),
    (root(permitted=[uri("")]), uri("https://example.org/x")),
]


@pytest.mark.parametrize(("ca", "name"), STRICTER)
def test_what_some_peer_refuses(ca: x509.Certificate, name: x509.GeneralName) -> None:
    """A wildcard that reaches into what is excluded, and URIs without a host to compare."""
    constraints = NameConstraints((ca,))
    assert constraints
    assert len(constraints.refusals(constraints.subject_of("orders"), [name])) == 1


def test_other_kinds_of_names_are_free() -> None:
    """A constraint is about its own kind."""
    ca = root(permitted=[dns("example.org")])
    names = [ip("10.0.0.7"), uri("urn:x:y")]
    assert NameConstraints((ca,)).refusals(NameConstraints((ca,)).subject_of("orders"), names) == ()
    assert not NameConstraints((certificate(ROOT_NAME, ROOT_KEY),))


def test_a_common_name_that_looks_like_a_dns_name() -> None:
    """Without DNS names beside it, OpenSSL compares it like one; so it is the subject that is refused."""
    ca = root(permitted=[dns("example.org")])
    constraints = NameConstraints((ca,))
    subject = constraints.subject_of("orders.example.com")
    (refusal,) = constraints.refusals(subject, [uri("urn:x:y")])
    assert refusal.is_subject
    assert "do not permit DNS:orders.example.com, only DNS:example.org" in str(refusal)
    assert not openssl_accepts(ca, subject, [uri("urn:x:y")])
    assert constraints.refusals(subject, [dns("orders.example.org")]) == ()
    assert openssl_accepts(ca, subject, [dns("orders.example.org")])


def test_subjects_beneath_a_directory_name() -> None:
    """The permitted one stands before the common name; an excluded one, or one with a common name, helps nobody."""
    ca = root(permitted=[x509.DirectoryName(ORG)])
    constraints = NameConstraints((ca,))
    subject = constraints.subject_of("orders")
    assert subject.rfc4514_string() == "CN=orders,O=Org,C=DE"
    assert constraints.refusals(subject, [dns("x")]) == ()
    assert openssl_accepts(ca, subject, [dns("x")])
    for useless in (root([x509.DirectoryName(ROOT_NAME)]), root([x509.DirectoryName(ORG)], [x509.DirectoryName(ORG)])):
        found = NameConstraints((useless,))
        assert found.subject_of("orders").rfc4514_string() == "CN=orders"
        assert [refusal.is_subject for refusal in found.refusals(found.subject_of("orders"), [dns("x")])] == [True]
    wide, narrow = ORG, x509.Name([*ORG.rdns, *x509.Name([x509.NameAttribute(NameOID.LOCALITY_NAME, "X")]).rdns])
    both = NameConstraints((root([x509.DirectoryName(wide)]), root([x509.DirectoryName(narrow)])))
    assert both.subject_of("orders").rfc4514_string() == "CN=orders,L=X,O=Org,C=DE"


def test_every_ca_of_the_path_counts() -> None:
    """And the message says which one."""
    path = (root(permitted=[dns("example.org")]), root(excluded=[dns("secret.example.org")]))
    constraints = NameConstraints(path)
    (refusal,) = constraints.refusals(constraints.subject_of("x"), [dns("a.secret.example.org"), dns("b.example.org")])
    assert refusal.name == dns("a.secret.example.org")
    assert str(refusal) == (
        "The name constraints of CN=Root exclude DNS:a.secret.example.org: DNS:secret.example.org is excluded."
    )


@pytest.mark.parametrize(
    ("ca", "of_server", "of_client"),
    [
        (root(permitted=[dns("example.org")]), True, True),
        (root(permitted=[dns(".example.org"), net("10.0.0.0/8"), uri(".example.org")]), True, True),
        (root(excluded=[dns(""), net("0.0.0.0/0"), net("::/0")]), False, True),
        (root(permitted=[uri("example.org")], excluded=[dns(""), net("0.0.0.0/0"), net("::/0")]), False, True),
        (root(excluded=[dns(""), uri(""), net("0.0.0.0/0"), net("::/0")]), False, False),
    ],
)
def test_names_for_a_proof(ca: x509.Certificate, of_server: bool, of_client: bool) -> None:
    """There is one where any is permitted, and OpenSSL agrees."""
    constraints = NameConstraints((ca,))
    subject = constraints.subject_of("proof")
    for purpose, is_there in ((SERVER_AUTH, of_server), (CLIENT_AUTH, of_client)):
        names = list(constraints.examples(purpose=purpose))
        assert bool(names) is is_there
        assert all(openssl_accepts(ca, subject, [name]) for name in names)


def test_purposes() -> None:
    """What every CA allows; one that says nothing allows both, and "any" is none of them to OpenSSL."""
    any_usage = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
    silent = root()
    client = root((), (), x509.ExtendedKeyUsage([CLIENT_AUTH, ExtendedKeyUsageOID.EMAIL_PROTECTION]))
    assert purposes_of((silent,)) == {CLIENT_AUTH, SERVER_AUTH}
    assert purposes_of((silent, client)) == {CLIENT_AUTH}
    assert purposes_of((client, root((), (), x509.ExtendedKeyUsage([SERVER_AUTH])))) == set()
    assert purposes_of((root((), (), x509.ExtendedKeyUsage([any_usage])),)) == set()
