"""Every check of the lint: where it comes from, and one certificate that breaks it and nothing that hides it."""

import datetime
import ipaddress
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from localca.lint.subject import Check, Role, Subject
from localca.lint.table import CHECKS, Finding, lint
from localca.profiles import Issuer, build_intermediate, build_leaf, build_root
from tests.support.certificates import Authority

NOW = datetime.datetime(2026, 5, 1, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
KEY = ec.generate_private_key(ec.SECP256R1())
ROOT = build_root(common_name="Root", now=NOW)
INTERMEDIATE = build_intermediate(issuer=ROOT, common_name="Intermediate", now=NOW)
ANY = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
URL = "http://aegis.example.com/crl"

Extensions = dict[type[x509.ExtensionType], tuple[x509.ExtensionType, bool] | None]


def usage(**usages: bool) -> x509.KeyUsage:
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    names += ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**(dict.fromkeys(names, False) | usages))


def subject(*names: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names])


def signed(
    issuer: Issuer,
    *,
    template: x509.Certificate,
    extensions: Extensions | None = None,
    signed_by: Any = None,
    hash_with: Any = None,
    **changes: Any,
) -> x509.Certificate:
    """A copy of a good certificate with other values; an extension that is None is left out."""
    values = {
        "subject_name": template.subject,
        "issuer_name": template.issuer,
        "public_key": template.public_key(),
        "serial_number": template.serial_number,
        "not_valid_before": template.not_valid_before_utc,
        "not_valid_after": template.not_valid_after_utc,
        **changes,
    }
    builder = x509.CertificateBuilder()
    for name, value in values.items():
        builder = getattr(builder, name)(value)
    kept: Extensions = {type(found.value): (found.value, found.critical) for found in template.extensions}
    for found in (kept | (extensions or {})).values():
        if found is not None:
            builder = builder.add_extension(found[0], critical=found[1])
    return builder.sign(signed_by or issuer.key, hash_with or hashes.SHA256())


def leaf(purpose: x509.ObjectIdentifier = CLIENT, **changes: Any) -> x509.Certificate:
    template = build_leaf(
        issuer=INTERMEDIATE,
        purpose=purpose,
        common_name="orders",
        names=[x509.DNSName("orders.example.com"), x509.IPAddress(ipaddress.ip_address("10.0.0.7"))],
        public_key=KEY.public_key(),
        now=NOW,
    )
    return signed(INTERMEDIATE, template=template, **changes)


def leaf_with(*kinds: tuple[x509.ExtensionType, bool], purpose: x509.ObjectIdentifier = CLIENT) -> x509.Certificate:
    return leaf(purpose, extensions={type(value): (value, critical) for value, critical in kinds})


def leaf_without(kind: type[x509.ExtensionType]) -> x509.Certificate:
    return leaf(extensions={kind: None})


def named(*names: x509.GeneralName, purpose: x509.ObjectIdentifier = CLIENT) -> x509.Certificate:
    return leaf_with((x509.SubjectAlternativeName(names), False), purpose=purpose)


def uris(*texts: str) -> x509.Certificate:
    return named(*(x509.UniformResourceIdentifier(text) for text in texts))


def authority(**changes: Any) -> x509.Certificate:
    return signed(ROOT, template=INTERMEDIATE.certificate, **changes)


def points(*urls: str, **options: Any) -> tuple[x509.ExtensionType, bool]:
    names = [x509.UniformResourceIdentifier(url) for url in urls]
    values = {"full_name": names, "relative_name": None, "reasons": None, "crl_issuer": None, **options}
    return x509.CRLDistributionPoints([x509.DistributionPoint(**values)]), False


BC, KU, EKU = x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage
SAN, SKI, AKI = x509.SubjectAlternativeName, x509.SubjectKeyIdentifier, x509.AuthorityKeyIdentifier
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())

# By check: what breaks it, in which role. Built when it is needed: keys take time.
BROKEN: dict[str, list[tuple[Role, Callable[[], x509.Certificate]]]] = {
    "serial_entropy": [(Role.CLIENT, lambda: leaf(serial_number=1 << 40))],
    "signature": [
        (Role.CLIENT, lambda: leaf(hash_with=hashes.SHA224())),
        (Role.IMPORTED, lambda: authority(hash_with=hashes.SHA224())),
    ],
    "signed": [
        (Role.CLIENT, lambda: leaf(signed_by=OTHER_KEY)),
        (Role.ROOT, lambda: Authority("x", Authority()).certificate),
    ],
    "issuer_name": [(Role.CLIENT, lambda: leaf(issuer_name=subject("Another")))],
    "subject": [
        (Role.CLIENT, lambda: leaf(subject_name=subject())),
        (Role.CLIENT, lambda: leaf(subject_name=subject("a", "b"))),
    ],
    "validity_days": [
        (Role.CLIENT, lambda: leaf(not_valid_after=NOW + 827 * DAY)),
    ],
    "validity_nested": [
        (Role.CLIENT, lambda: leaf(not_valid_before=NOW - DAY)),
        (Role.CLIENT, lambda: leaf(not_valid_after=NOW + 20 * 365 * DAY)),
        (Role.IMPORTED, lambda: authority(not_valid_after=NOW + 20 * 365 * DAY)),
    ],
    "key": [
        (Role.CLIENT, lambda: leaf(public_key=rsa.generate_private_key(65537, 1024).public_key())),  # noqa: S505 (weak is the point)
        (Role.CLIENT, lambda: leaf(public_key=ec.generate_private_key(ec.SECP256K1()).public_key())),
    ],
    "own_key": [(Role.CLIENT, lambda: leaf(public_key=ROOT.key.public_key()))],
    "constraints": [
        (Role.CLIENT, lambda: leaf_without(BC)),
        (Role.CLIENT, lambda: leaf_with((BC(ca=False, path_length=None), False))),
        (Role.IMPORTED, lambda: authority(extensions={BC: (BC(ca=True, path_length=0), False)})),
    ],
    "leaf": [(Role.CLIENT, lambda: leaf_with((BC(ca=True, path_length=None), True)))],
    "authority": [(Role.IMPORTED, lambda: authority(extensions={BC: (BC(ca=False, path_length=None), True)}))],
    "leafs_only": [(Role.INTERMEDIATE, lambda: authority(extensions={BC: (BC(ca=True, path_length=None), True)}))],
    "key_usage": [
        (Role.CLIENT, lambda: leaf_without(KU)),
        (Role.CLIENT, lambda: leaf_with((usage(digital_signature=True), False))),
    ],
    "leaf_usage": [
        (Role.CLIENT, lambda: leaf_with((usage(digital_signature=True, key_cert_sign=True), True))),
        (Role.CLIENT, lambda: leaf_with((usage(key_encipherment=True), True))),
    ],
    "authority_usage": [
        (Role.IMPORTED, lambda: authority(extensions={KU: (usage(crl_sign=True), True)})),
        (Role.IMPORTED, lambda: authority(extensions={KU: (usage(key_cert_sign=True), True)})),
    ],
    "purpose": [
        (Role.CLIENT, lambda: leaf_without(EKU)),
        (Role.CLIENT, lambda: leaf_with((EKU([CLIENT, SERVER]), False))),
        (Role.CLIENT, lambda: leaf_with((EKU([ANY]), False))),
        (Role.SERVER, lambda: leaf_with((EKU([CLIENT]), False))),
    ],
    "purpose_optional": [(Role.CLIENT, lambda: leaf_with((EKU([CLIENT]), True)))],
    "authority_purpose": [(Role.IMPORTED, lambda: authority(extensions={EKU: (EKU([ANY]), False)}))],
    "names": [(Role.CLIENT, lambda: leaf_without(SAN)), (Role.CLIENT, named)],
    "names_optional": [(Role.CLIENT, lambda: leaf_with((SAN([x509.DNSName("orders")]), True)))],
    "name_kinds": [(Role.CLIENT, lambda: named(x509.DNSName("orders"), x509.RFC822Name("a@example.com")))],
    "name_twice": [(Role.CLIENT, lambda: named(x509.DNSName("orders"), x509.DNSName("orders")))],
    "server_names": [(Role.SERVER, lambda: named(x509.UniformResourceIdentifier("urn:x:y"), purpose=SERVER))],
    "server_uri": [
        (Role.SERVER, lambda: named(x509.DNSName("a"), x509.UniformResourceIdentifier("urn:x:y"), purpose=SERVER))
    ],
    "dns_name": [
        (Role.CLIENT, lambda: named(x509.DNSName("under_score.example.com"))),
        (Role.CLIENT, lambda: named(x509.DNSName("a.*.example.com"))),
        (Role.CLIENT, lambda: named(x509.DNSName("-a.example.com"))),
        (Role.CLIENT, lambda: named(x509.DNSName("a" * 64))),
        (Role.CLIENT, lambda: named(x509.DNSName("orders.example.com."))),
    ],
    "uri": [(Role.CLIENT, lambda: uris("/only/a/path"))],
    "spiffe_alone": [(Role.CLIENT, lambda: uris("spiffe://example.org/orders", "urn:x:y"))],
    "spiffe_id": [
        (Role.CLIENT, lambda: uris("spiffe://example.org")),
        (Role.CLIENT, lambda: uris("spiffe://example.org:8080/orders")),
        (Role.CLIENT, lambda: uris("spiffe://example.org/orders/")),
    ],
    "subject_key": [
        (Role.CLIENT, lambda: leaf_without(SKI)),
        (Role.IMPORTED, lambda: authority(extensions={SKI: None})),
    ],
    "issuer_key": [
        (Role.CLIENT, lambda: leaf_without(AKI)),
        (Role.CLIENT, lambda: leaf_with((AKI(b"another", None, None), False))),
    ],
    "critical": [
        (Role.CLIENT, lambda: leaf_with((x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b""), True)))
    ],
    "crl_place": [
        (Role.CLIENT, lambda: leaf_with(points("ldap://example.com/crl"))),
        (Role.CLIENT, lambda: leaf_with((points(URL)[0], True))),
        (Role.CLIENT, lambda: leaf_with(points(URL, reasons=frozenset([x509.ReasonFlags.key_compromise])))),
    ],
}

# What cryptography builds nothing of; certificates from elsewhere may be so.
UNBUILDABLE: dict[str, list[dict[str, Any]]] = {
    "version": [{"version": x509.Version.v1}],
    "serial_length": [{"serial_number": 1 << 159}, {"serial_number": 0}],
    "common_name": [{"subject": SimpleNamespace(get_attributes_for_oid=lambda oid: [SimpleNamespace(value="x" * 65)])}],
    "validity": [{"not_valid_before_utc": NOW, "not_valid_after_utc": NOW}],
}
# They take another path, see below.
OTHERWISE = {"path_length", "purpose_nested", "name_constraints"}

CASES = [(code, role, build) for code, cases in BROKEN.items() for role, build in cases]


def codes(certificate: x509.Certificate, role: Role) -> set[str]:
    path = (
        (certificate,)
        if role is Role.ROOT
        else ROOT.path
        if role in (Role.INTERMEDIATE, Role.IMPORTED)
        else INTERMEDIATE.path
    )
    return {finding.check.code for finding in lint(certificate, role=role, path=path)}


@pytest.mark.parametrize(("code", "role", "build"), CASES)
def test_each_check_finds_what_it_is_for(code: str, role: Role, build: Callable[[], x509.Certificate]) -> None:
    """A certificate that is wrong in one way is found by the check of that way."""
    assert code in codes(build(), role)


@pytest.mark.parametrize(("code", "values"), [(code, one) for code, cases in UNBUILDABLE.items() for one in cases])
def test_what_cannot_be_built_is_found_as_well(code: str, values: dict[str, Any]) -> None:
    """The question is asked of values alone."""
    check = next(check for check in CHECKS if check.code == code)
    certificate: Any = SimpleNamespace(**values)
    assert not check.holds(Subject(certificate=certificate, role=Role.IMPORTED, path=ROOT.path))
    assert check.holds(Subject(certificate=INTERMEDIATE.certificate, role=Role.IMPORTED, path=ROOT.path))


def test_every_check_is_broken_by_something() -> None:
    """The list of all checks, each with its source; whoever adds one adds what breaks it."""
    assert {check.code for check in CHECKS} == BROKEN.keys() | UNBUILDABLE.keys() | OTHERWISE
    assert len({check.code for check in CHECKS}) == len(CHECKS) == 40
    assert all(check.source and check.roles and check.problem for check in CHECKS)


@pytest.mark.parametrize("purpose", [CLIENT, SERVER])
def test_good_certificates_pass(purpose: x509.ObjectIdentifier) -> None:
    """What Aegis issues has no finding, with or without intermediate and distribution point."""
    role = Role.CLIENT if purpose == CLIENT else Role.SERVER
    assert codes(leaf(purpose), role) == set()
    assert codes(leaf_with(points(URL), purpose=purpose), role) == set()
    assert codes(ROOT.certificate, Role.ROOT) == set()
    assert codes(INTERMEDIATE.certificate, Role.INTERMEDIATE) == codes(INTERMEDIATE.certificate, Role.IMPORTED) == set()
    assert codes(uris("spiffe://example.org/orders"), Role.CLIENT) == set()


def test_an_organisations_intermediate_may_be_of_its_own_style() -> None:
    """A short serial number, no key identifier of its issuer, another path length: old CAs have that, and peers take
    it."""
    old = authority(serial_number=0x1000, extensions={AKI: None, BC: (BC(ca=True, path_length=3), True)})
    assert codes(old, Role.IMPORTED) == set()


def test_room_beneath_a_ca() -> None:
    """The path lengths of all CAs above count, each from where it stands."""
    deep = build_leaf(
        issuer=INTERMEDIATE,
        purpose=CLIENT,
        common_name="x",
        names=[x509.DNSName("x")],
        public_key=KEY.public_key(),
        now=NOW,
    )
    found = lint(deep, role=Role.CLIENT, path=(INTERMEDIATE.certificate, INTERMEDIATE.certificate, ROOT.certificate))
    assert {finding.check.code for finding in found} == {"path_length"}


def test_strict_peers_want_every_purpose_nested() -> None:
    """Go refuses a leaf for a purpose that a CA above does not have; none named means all."""
    for usages, role, is_good in (
        ([CLIENT], Role.CLIENT, True),
        ([CLIENT, SERVER], Role.SERVER, True),
        ([SERVER], Role.CLIENT, False),
    ):
        above = authority(extensions={EKU: (EKU(usages), False)})
        purpose = CLIENT if role is Role.CLIENT else SERVER
        found = lint(leaf(purpose), role=role, path=(above, ROOT.certificate))
        assert {finding.check.code for finding in found} == (set() if is_good else {"purpose_nested"})


def test_names_that_a_ca_above_does_not_permit() -> None:
    """Found wherever in the path the constraints stand."""
    constraints = x509.NameConstraints(permitted_subtrees=None, excluded_subtrees=[x509.DNSName("example.com")])
    above = authority(extensions={x509.NameConstraints: (constraints, True)})
    for path in ((above, ROOT.certificate), (INTERMEDIATE.certificate, above)):
        found = lint(leaf(), role=Role.CLIENT, path=path)
        assert "name_constraints" in {finding.check.code for finding in found}


def test_what_a_finding_says() -> None:
    """The problem in words, the check and where it comes from."""
    check = Check("leaf", "BR 7.1", frozenset(Role), "it is none", lambda subject: False)
    assert str(Finding(check)) == "it is none (leaf, BR 7.1)"
