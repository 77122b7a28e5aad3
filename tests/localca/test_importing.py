"""Taking over an organisation's intermediate."""

import datetime
import shutil
import subprocess
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
from localca.keys import KeyType, generate_key, key_to_pem
from localca.models import CertificateAuthority, RevocationReason
from localca.retirement import retire_authority
from localca.revocation import (
    RevocationError,
    current_list,
    current_lists,
    revoke_certificate,
    revoke_intermediate,
)
from localca.selectors import active_authority, trust_anchors
from localca.services import ensure_authority, issue_client_certificate, issue_server_certificate

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


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command on this machine")
@pytest.mark.parametrize("key_type", [KeyType.EC_P256, KeyType.RSA_2048])
def test_openssl_believes_what_it_issues(tmp_path: Path, key_type: KeyType) -> None:
    """In strict mode, for both purposes, whatever type its key has."""
    ca = TheirCA("Org Issuing CA", parent=ROOT, key=generate_key(key_type))
    ensure_authority()
    imported(ca, ROOT)
    client = issue_client_certificate(common_name="orders")
    server = issue_server_certificate(common_name="orders", subject_alt_names=["DNS:orders"])
    (tmp_path / "root.crt").write_text(ROOT.pem)
    for bundle, purpose in ((client, "sslclient"), (server, "sslserver")):
        (tmp_path / "chain.crt").write_text(bundle.chain_pem)
        command = [
            "openssl",
            "verify",
            "-x509_strict",
            "-purpose",
            purpose,
            "-CAfile",
            "root.crt",
            "-untrusted",
            "chain.crt",
            "chain.crt",
        ]
        verified = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert verified.stdout == "chain.crt: OK\n", verified.stderr


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
        ({"usages": [ExtendedKeyUsageOID.CLIENT_AUTH]}, "is not for TLS clients and servers"),
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
