"""Taking over an organisation's intermediate."""

import datetime
import ipaddress
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from django.core.exceptions import ValidationError

from aegis_site.kernel.audit.models import AuditEntry
from localca.authority_keys import restore_key
from localca.hierarchy import create_intermediate, create_root
from localca.importing import import_intermediate
from localca.keys import KeyType, PrivateKey, generate_key, key_to_pem
from localca.models import CertificateAuthority, IssuedCertificate, Purpose, RevocationReason
from localca.orders import Order
from localca.retirement import retire_authority
from localca.revocation import (
    RevocationError,
    current_list,
    current_lists,
    revoke_certificate,
    revoke_intermediate,
)
from localca.selectors import active_authority, trust_anchors
from localca.services import (
    IssuanceError,
    IssuedBundle,
    ensure_authority,
    issue_certificate,
    issue_client_certificate,
    issue_server_certificate,
    renew_certificate,
)

pytestmark = pytest.mark.django_db

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
DAY = datetime.timedelta(days=1)


class TheirCA:
    """A CA of an organisation, made without any code of the product."""

    def __init__(self, name: str, *, parent: "TheirCA | None" = None, key: Any = None, **options: Any) -> None:
        self.key = key or ec.generate_private_key(ec.SECP384R1())
        subject = x509.Name(
            [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Org"), x509.NameAttribute(NameOID.COMMON_NAME, name)]
        )
        issuer = parent or self
        usages = options.get("usages", ())
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(parent.certificate.subject if parent else subject)
            .public_key(self.key.public_key())
            .serial_number(0x1000)
            .not_valid_before(options.get("not_before", NOW - 30 * DAY))
            .not_valid_after(options.get("not_after", NOW + 900 * DAY))
            .add_extension(
                x509.BasicConstraints(ca=options.get("ca", True), path_length=options.get("path_length")), critical=True
            )
            .add_extension(_usage(key_cert_sign=options.get("key_cert_sign", True), crl_sign=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
        )
        if usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        subtrees = {f"{kind}_subtrees": options.get(kind) for kind in ("permitted", "excluded")}
        if any(subtrees.values()):
            builder = builder.add_extension(x509.NameConstraints(**subtrees), critical=True)
        for extension in options.get("extensions", ()):
            builder = builder.add_extension(extension, critical=False)
        self.certificate = builder.sign(issuer.key, hashes.SHA256())

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        return key_to_pem(self.key).decode()


def _usage(**usages: bool) -> x509.KeyUsage:
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    names += ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**(dict.fromkeys(names, False) | usages))


ROOT = TheirCA("Org Root")
POLICY = TheirCA("Org Policy CA", parent=ROOT)
ISSUING = TheirCA("Org Issuing CA", parent=POLICY, path_length=0)


def imported(ca: TheirCA = ISSUING, *above: TheirCA, **values: Any) -> CertificateAuthority:
    chain = "".join(one.pem for one in (ca, *above))
    return import_intermediate(**{"certificate": chain, "private_key": ca.key_pem, "user": None} | values)


def refused(*arguments: Any, **values: Any) -> dict[str, str | None]:
    """The codes by field; nothing is stored."""
    known = CertificateAuthority.objects.count()
    with pytest.raises(ValidationError) as raised:
        imported(*arguments, **values)
    assert CertificateAuthority.objects.count() == known
    assert "BEGIN" not in str(raised.value)
    return {field: problems[0].code for field, problems in raised.value.error_dict.items()}


def test_an_import() -> None:
    """The intermediate issues; those above are stored without keys, and their root is trusted beside ours."""
    ours = ensure_authority()
    authority = imported(ISSUING, ROOT, POLICY, crl_url="http://pki.example.com/issuing.crl")
    assert active_authority() == authority
    assert [one.certificate for one in authority.path] == [ca.certificate for ca in (ISSUING, POLICY, ROOT)]
    assert [one.has_key for one in authority.path] == [True, False, False]
    assert trust_anchors() == (authority.root, ours)
    bundle = issue_client_certificate(common_name="orders")
    leaf, *above = x509.load_pem_x509_certificates(bundle.chain_pem.encode())
    assert above == [ISSUING.certificate, POLICY.certificate]
    leaf.verify_directly_issued_by(ISSUING.certificate)
    assert leaf.signature_hash_algorithm is not None
    assert leaf.signature_hash_algorithm.name == "sha384", "as its key is"
    revoke_certificate(certificate=bundle.record, reason=RevocationReason.SUPERSEDED, user=None)
    assert len(current_list(authority).revocation_list) == 1
    assert [found.authority for found in current_lists()] == [authority, ours], "of the others, their owner has lists"
    actions = AuditEntry.objects.filter(target_type="ca").order_by("-pk").values_list("action", flat=True)
    assert list(actions[:4]) == ["created", "replaced", "imported", "imported"]


ORG = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Org")])
PERMITTED = [
    x509.DNSName("example.org"),
    x509.IPAddress(ipaddress.ip_network("10.0.0.0/8")),
    x509.UniformResourceIdentifier("example.org"),
    x509.DirectoryName(ORG),
]
EXCLUDED = [x509.DNSName("secret.corp.example.org")]
CONSTRAINED = TheirCA("Org Constrained CA", parent=POLICY, path_length=0, permitted=PERMITTED, excluded=EXCLUDED)


@pytest.fixture(scope="module")
def keys() -> dict[KeyType, PrivateKey]:
    """One of each type; RSA takes seconds."""
    return {kind: generate_key(kind) for kind in KeyType}


def verified_by_openssl(bundle: IssuedBundle, directory: Path) -> str:
    """What openssl(1) says of the leaf in strict mode, for its purpose, with the root alone."""
    (directory / "root.crt").write_text(bundle.record.authority.root.certificate_pem)
    (directory / "chain.crt").write_text(bundle.chain_pem)
    command = ["openssl", "verify", "-x509_strict", "-purpose", f"ssl{bundle.record.purpose}", "-CAfile", "root.crt"]
    found = subprocess.run(
        [*command, "-untrusted", "chain.crt", "chain.crt"], cwd=directory, capture_output=True, text=True, check=False
    )
    return found.stdout + found.stderr


def use_nothing_more() -> None:
    """The first root issues."""


def use_intermediate() -> None:
    create_intermediate(user=None)


def use_imported(key_type: KeyType = KeyType.EC_P256) -> None:
    imported(TheirCA("Org Issuing CA", parent=ROOT, key=generate_key(key_type)), ROOT)


def use_constrained() -> None:
    imported(CONSTRAINED, POLICY, ROOT)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command on this machine")
@pytest.mark.parametrize(
    "use",
    [use_nothing_more, use_intermediate, use_imported, lambda: use_imported(KeyType.RSA_2048), use_constrained],
    ids=["root", "intermediate", "imported", "imported RSA", "constrained"],
)
def test_openssl_believes_what_it_issues(
    tmp_path: Path, keys: dict[KeyType, PrivateKey], use: Callable[[], None]
) -> None:
    """In strict mode, for its purpose, with every type of key and of name, whatever stands above."""
    ensure_authority()
    use()
    names = {
        Purpose.CLIENT: [(), ("URI:spiffe://example.org/orders",), ("DNS:orders.example.org", "IP:10.0.0.7")],
        Purpose.SERVER: [("DNS:orders.example.org", "DNS:*.example.org", "IP:10.0.0.7"), ("IP:10.0.0.7",)],
    }
    for purpose, choices in names.items():
        for number, (kind, key) in enumerate(keys.items()):
            order = Order(
                purpose=purpose,
                common_name="orders.example.org",
                key_type=kind,
                subject_alt_names=choices[number % len(choices)],
            )
            bundle = issue_certificate(order=order, key=key, user=None)
            assert verified_by_openssl(bundle, tmp_path) == "chain.crt: OK\n", (purpose, kind, order)


def order_refused(purpose: Purpose, common_name: str, *names: str) -> dict[str, str]:
    """The messages by field; all are of constraints, and nothing is issued."""
    order = Order(purpose=purpose, common_name=common_name, subject_alt_names=names)
    with pytest.raises(ValidationError) as raised:
        issue_certificate(order=order, user=None)
    assert not IssuedCertificate.objects.exists()
    problems = {field: found[0] for field, found in raised.value.error_dict.items()}
    assert {problem.code for problem in problems.values()} == {"not_permitted"}
    return {field: str(problem.message) for field, problem in problems.items()}


def test_what_constraints_do_not_permit_is_told_at_its_field() -> None:
    """The name, who does not permit it, and what is permitted."""
    use_constrained()
    client, server = Purpose.CLIENT, Purpose.SERVER
    whose = "The name constraints of CN=Org Constrained CA,O=Org"
    permitted = "only DNS:example.org."
    assert order_refused(client, "orders", "DNS:orders.example.com") == {
        "subject_alt_names": f"{whose} do not permit DNS:orders.example.com, {permitted}"
    }
    assert order_refused(server, "orders", "DNS:a.secret.corp.example.org", "DNS:x.example.org") == {
        "subject_alt_names": f"{whose} exclude DNS:a.secret.corp.example.org: DNS:secret.corp.example.org is excluded."
    }
    assert order_refused(server, "orders", "IP:11.0.0.1")["subject_alt_names"].endswith("only IP:10.0.0.0/8.")
    assert "only URI:example.org." in order_refused(client, "x", "URI:spiffe://example.com/x")["subject_alt_names"]
    # Without names of its own it is the common name that would become one.
    assert order_refused(client, "orders.example.com")["common_name"].endswith(permitted)
    assert order_refused(client, "orders.example.com", "IP:10.0.0.7")["common_name"].endswith(permitted)
    assert issue_client_certificate(common_name="orders.example.org").record.subject == "CN=orders.example.org,O=Org"


def test_where_nobody_chose_the_names() -> None:
    """No field to tell it at: an error of the issuance, with the same words."""
    ensure_authority()
    before = issue_client_certificate(common_name="orders.example.com").record
    use_constrained()
    for act in (
        lambda: issue_client_certificate(common_name="orders.example.com"),
        lambda: issue_server_certificate(common_name="x", subject_alt_names=["DNS:orders.example.com"]),
        lambda: renew_certificate(certificate=before, user=None),
    ):
        with pytest.raises(IssuanceError, match=r"do not permit DNS:orders\.example\.com") as raised:
            act()
        assert raised.value.code == "not_permitted"


def test_an_intermediate_for_one_purpose() -> None:
    """It issues that; the other purpose is refused at its field."""
    imported(TheirCA("Org Clients CA", parent=ROOT, usages=[ExtendedKeyUsageOID.CLIENT_AUTH]), ROOT)
    assert order_refused(Purpose.SERVER, "orders", "DNS:orders") == {
        "purpose": "Org Clients CA,O=Org, or a CA above it, is not for server certificates (extended key usage)."
    }
    issue_client_certificate(common_name="orders")


def test_an_intermediate_that_permits_no_directory_name_of_ours() -> None:
    """A subject of any name would be refused, so the import is."""
    person = x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Somebody")]))
    with pytest.raises(ValidationError, match="permit no name that a certificate here can have"):
        imported(TheirCA("Odd", parent=ROOT, permitted=[person]), ROOT)


def test_an_encrypted_key_and_a_root_beside_the_chain() -> None:
    """As a PKI team hands it over."""
    pem = key_to_pem(ISSUING.key, passphrase=b"a secret").decode()
    assert (
        imported(ISSUING, POLICY, private_key=pem, passphrase="a secret", root_certificate=ROOT.pem).root.certificate
        == ROOT.certificate
    )


def test_a_root_that_is_known_need_not_be_given_again() -> None:
    """A second intermediate beneath the same root; what is above is stored once."""
    first = imported(ISSUING, POLICY, ROOT)
    second = imported(TheirCA("Next", parent=POLICY))
    assert second.path[1:] == first.path[1:]
    assert CertificateAuthority.objects.count() == 4
    assert refused(ISSUING) == {"certificate": "known"}


def test_what_was_revoked_does_not_come_back() -> None:
    """Nor what was retired, nor the same key with another certificate: its list would miss what the first names."""
    root = ensure_authority()
    ours = create_intermediate(user=None)
    values = {
        "certificate": ours.certificate_pem,
        "private_key": key_to_pem(ours.issuer().key).decode(),
        "user": None,
    }
    create_intermediate(user=None)
    revoke_intermediate(authority=ours, reason=RevocationReason.KEY_COMPROMISE, user=None)
    with pytest.raises(ValidationError, match=r"is here already, as .*, and was revoked") as raised:
        import_intermediate(**values)
    assert raised.value.error_dict["certificate"][0].code == "known"
    theirs = imported(ISSUING, POLICY, ROOT)
    assert refused(TheirCA("Org Issuing CA", parent=POLICY, path_length=0, key=ISSUING.key)) == {
        "certificate": "same_key"
    }
    create_root(user=None)
    retire_authority(authority=theirs.root, user=None)
    assert refused(ISSUING, POLICY, ROOT) == {"certificate": "known"}
    assert root.retired_at is None


def test_nothing_is_imported_beneath_what_was_revoked() -> None:
    """The list of its issuer names it, so peers would refuse everything."""
    ensure_authority()
    theirs = imported(ISSUING, POLICY, ROOT)
    restore_key(authority=theirs.root, private_key=ROOT.key_pem, user=None)
    policy = CertificateAuthority.objects.get(pk=theirs.parent_id)
    with pytest.raises(RevocationError, match="an intermediate beneath it issues"):
        revoke_intermediate(authority=policy, reason=RevocationReason.KEY_COMPROMISE, user=None)
    create_root(user=None)
    revoke_intermediate(authority=policy, reason=RevocationReason.KEY_COMPROMISE, user=None)
    assert refused(TheirCA("Next", parent=POLICY), POLICY) == {"certificate": "revoked"}


# DNS and URI alike; no certificate from here has names of another kind but addresses.
EVERYTHING = [
    x509.DNSName(""),
    x509.UniformResourceIdentifier(""),
    *(x509.IPAddress(ipaddress.ip_network(network)) for network in ("0.0.0.0/0", "::/0")),
]
OTHER_KEY = key_to_pem(generate_key()).decode()
ENCRYPTED_KEY = key_to_pem(ISSUING.key, passphrase=b"secret").decode()
NONSENSE = {"certificate": "nonsense", "private_key": "", "root_certificate": "x", "crl_url": "y"}


@pytest.mark.parametrize(
    ("ca", "above", "values", "expected"),
    [
        (ISSUING, (POLICY,), {}, {"certificate": "chain_incomplete"}),
        (ISSUING, (POLICY,), {"root_certificate": TheirCA("Other").pem}, {"root_certificate": "chain_incomplete"}),
        (ISSUING, (POLICY, ROOT), {"private_key": OTHER_KEY}, {"private_key": "key_mismatch"}),
        (ISSUING, (POLICY, ROOT), {"private_key": ENCRYPTED_KEY}, {"passphrase": "key_encrypted"}),
        (ISSUING, (), NONSENSE, {**dict.fromkeys(NONSENSE, "bad_pem"), "crl_url": "invalid"}),
        (ROOT, (), {}, {"certificate": "is_root"}),
    ],
)
def test_what_does_not_fit_together(
    ca: TheirCA, above: tuple[TheirCA, ...], values: dict[str, str], expected: dict[str, str]
) -> None:
    """Each mistake at its field, all mistakes of reading at once."""
    ensure_authority()
    assert refused(ca, *above, **values) == expected


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"ca": False}, "it is not a CA"),
        ({"key_cert_sign": False}, "its key may not sign certificates and lists"),
        ({"not_after": NOW - DAY}, "is not valid at this time: .*Org.* ended"),
        ({"not_before": NOW + DAY}, "is not valid at this time: .*Org.* begins"),
        ({"not_after": NOW + 5000 * DAY}, "it outlives its CA"),
        ({"usages": [ExtendedKeyUsageOID.CODE_SIGNING]}, "is for neither TLS clients nor TLS servers"),
        ({"excluded": EVERYTHING}, "permit no name that a certificate here can have"),
        ({"key": ec.generate_private_key(ec.SECP521R1())}, "A CA's key|The key is none of"),
    ],
)
def test_a_ca_that_cannot_issue(options: dict[str, Any], problem: str) -> None:
    """The reason in words, and the CA that was active stays so."""
    ours = ensure_authority()
    bad = TheirCA("Bad", parent=ROOT, **options)
    with pytest.raises(ValidationError, match=problem) as raised:
        imported(bad, ROOT)
    assert raised.value.error_dict.keys() <= {"certificate", "private_key"}
    assert active_authority() == ours
    assert CertificateAuthority.objects.count() == 1


def test_a_root_that_allows_no_intermediate() -> None:
    """Path lengths count over the whole chain."""
    tight = TheirCA("Tight", path_length=0)
    with pytest.raises(ValidationError, match="a CA above allows no certificate this far below"):
        imported(TheirCA("Beneath", parent=tight), tight)
