"""Revocation lists that somebody else signed."""

import datetime
import http.client
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import time_machine
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from django.core.exceptions import ValidationError

from aegis_site.kernel.audit.models import AuditEntry
from localca import given_lists
from localca.authority_keys import remove_key, restore_key
from localca.bundle import trust_bundle_zip
from localca.given_lists import MAX_LIST_PEM_BYTES, give_list
from localca.hierarchy import create_intermediate, create_root
from localca.models import CertificateAuthority, KeyMissing, RevocationList, RevocationReason
from localca.revocation import (
    current_list,
    current_lists,
    latest_list,
    refresh_lists,
    revoke_intermediate,
    without_list,
)
from localca.selectors import trust_anchors_pem
from localca.services import ensure_authority, issue_client_certificate, issue_server_certificate
from tests.localca.test_hierarchy import as_leaf, asked
from tests.localca.test_importing import DAY, ISSUING, NOW, POLICY, ROOT, TheirCA, imported
from tests.support.nginx import Nginx

pytestmark = pytest.mark.django_db

PLACE = "http://pki.example.org/root.crl"


def their_list(
    ca: TheirCA, *revoked: int, number: int | None = 7, extensions: Sequence[x509.ExtensionType] = (), **values: Any
) -> x509.CertificateRevocationList:
    """A list as an organisation's PKI signs it."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(values.get("issuer", ca.certificate.subject))
        .last_update(values.get("begin", NOW - DAY))
        .next_update(values.get("end", NOW + 30 * DAY))
    )
    if number is not None:
        builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    for serial_number in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(serial_number).revocation_date(NOW - 2 * DAY)
        entry = entry.add_extension(x509.CRLReason(x509.ReasonFlags.key_compromise), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(values.get("key", ca.key), hashes.SHA256())


def pem_of(crl: x509.CertificateRevocationList) -> str:
    return crl.public_bytes(Encoding.PEM).decode()


def give(authority: CertificateAuthority, ca: TheirCA, *revoked: int, **values: Any) -> CertificateAuthority:
    return give_list(authority=authority, crl=pem_of(their_list(ca, *revoked, **values)), user=None)


def test_nginx_needs_the_lists_from_above(tmp_path: Path) -> None:
    """Without them it refuses every client, as the bundle's README says; with them it admits ours."""
    authority = imported(ISSUING, POLICY, ROOT)
    server = issue_server_certificate(common_name="localhost", subject_alt_names=["DNS:localhost", "IP:127.0.0.1"])
    client = issue_client_certificate(common_name="orders")
    (tmp_path / "root.crt").write_text(trust_anchors_pem())
    (tmp_path / "client.pem").write_text(client.chain_pem + client.key_pem.decode())

    def status(directory: str) -> int:
        bundle = zipfile.ZipFile(io.BytesIO(trust_bundle_zip()))
        lists = bundle.read("aegis-local-ca.crl").decode()
        with Nginx(
            tmp_path / directory, server=as_leaf(server), client_ca_pem=trust_anchors_pem(), crl_pem=lists
        ) as nginx:
            return asked(nginx.port, tmp_path)[0]

    assert status("without") == http.client.BAD_REQUEST
    give(authority.path[1], POLICY)
    assert without_list() == (authority.root,)
    assert status("in part") == http.client.BAD_REQUEST
    give(authority.root, ROOT)
    assert status("with") == http.client.OK


def test_what_the_bundle_says() -> None:
    """Which lists are missing, where certificates say that they are, and what to do; nothing when they are there."""
    point = x509.DistributionPoint([x509.UniformResourceIdentifier(PLACE)], None, None, None)
    policy = TheirCA("Org Policy CA", parent=ROOT, extensions=[x509.CRLDistributionPoints([point])])
    authority = imported(TheirCA("Org Issuing CA", parent=policy), policy, ROOT)

    def readme() -> str:
        return zipfile.ZipFile(io.BytesIO(trust_bundle_zip())).read("README.txt").decode()

    text = readme()
    assert f"The list of Org Root,O=Org\n      is at {PLACE}\n" in text
    assert "The list of Org Policy CA,O=Org\n" in text
    assert "unable to get certificate CRL" in text
    give(authority.root, ROOT)
    assert "The list of Org Root" not in readme()
    give(authority.path[1], policy)
    assert "unable to get certificate CRL" not in readme()
    assert len(current_lists()) == 3
    entry = AuditEntry.objects.filter(action="list given").latest("pk")
    assert {change["field"]: change["after"] for change in entry.changes}["revocation_list.number"] == 7


def test_who_asks_by_date_sees_the_change() -> None:
    """The list that was given may be old; the one of the CA that issues is signed again."""
    authority = imported(ISSUING, POLICY, ROOT)
    before = current_list(authority)
    give(authority.root, ROOT)
    assert current_list(authority).this_update > before.this_update
    again = RevocationList.objects.count()
    give(authority.root, ROOT, begin=NOW - DAY, end=NOW + 31 * DAY, number=8)
    assert RevocationList.objects.count() == again, "what it replaced is not kept"


def test_the_same_list_again_changes_nothing() -> None:
    """Whoever fetches it daily may give it daily."""
    authority = imported(ISSUING, POLICY, ROOT)
    content = their_list(ROOT).public_bytes(Encoding.DER)
    give_list(authority=authority.root, crl=content, user=None)
    state = (AuditEntry.objects.count(), list(RevocationList.objects.order_by("pk").values_list("number")))
    give_list(authority=authority.root, crl=content, user=None)
    assert (AuditEntry.objects.count(), list(RevocationList.objects.order_by("pk").values_list("number"))) == state


def scope(**values: Any) -> x509.ExtensionType:
    defaults = {"full_name": None, "relative_name": None, "only_some_reasons": None}
    flags = ("only_contains_user_certs", "only_contains_ca_certs", "indirect_crl", "only_contains_attribute_certs")
    return x509.IssuingDistributionPoint(**(defaults | dict.fromkeys(flags, False) | values))


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("other_issuer", {"issuer": POLICY.certificate.subject}),
    ("not_signed", {"key": POLICY.key}),
    ("not_signed", {"key": ec.generate_private_key(ec.SECP256R1())}),
    ("overdue", {"begin": NOW - 9 * DAY, "end": NOW - DAY}),
    ("not_yet", {"begin": NOW + DAY}),
    ("partial", {"extensions": [x509.DeltaCRLIndicator(1)]}),
    ("partial", {"extensions": [scope(only_contains_user_certs=True)]}),
    ("partial", {"extensions": [scope(indirect_crl=True)]}),
    ("partial", {"extensions": [x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\x05\x00")]}),
]


@pytest.mark.parametrize(("code", "values"), REFUSED)
def test_a_list_that_does_not_do(code: str, values: dict[str, Any]) -> None:
    """The reason at its field, and nothing is stored."""
    authority = imported(ISSUING, POLICY, ROOT)
    with pytest.raises(ValidationError) as raised:
        give(authority.root, ROOT, **values)
    assert [problem.code for problem in raised.value.error_dict["crl"]] == [code]
    assert latest_list(authority.root) is None


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("", "bad_pem"),
        ("nonsense", "bad_pem"),
        (b"\x30\x03\x02\x01\x01", "bad_pem"),
        (ROOT.pem, "bad_pem"),
        (ROOT.key_pem, "pem_swapped"),
        (pem_of(their_list(ROOT)) + pem_of(their_list(POLICY)), "bad_pem"),
        ("x" * (MAX_LIST_PEM_BYTES + 1), "max_length"),
    ],
)
def test_what_is_no_list(content: str | bytes, code: str) -> None:
    """Told in words; nothing of it comes back."""
    authority = imported(ISSUING, POLICY, ROOT)
    with pytest.raises(ValidationError) as raised:
        give_list(authority=authority.root, crl=content, user=None)
    assert [problem.code for problem in raised.value.error_dict["crl"]] == [code]
    assert "BEGIN PRIVATE" not in str(raised.value)


def test_a_list_for_ca_certificates_alone_does() -> None:
    """A CA above issues nothing else."""
    authority = imported(ISSUING, POLICY, ROOT)
    give(authority.root, ROOT, extensions=[scope(only_contains_ca_certs=True)])
    assert authority.root not in without_list()


def test_an_older_list_is_refused() -> None:
    """What the later one names would be good again."""
    authority = imported(ISSUING, POLICY, ROOT)
    give(authority.root, ROOT, 99)
    with pytest.raises(ValidationError, match="A later list is here already"):
        give(authority.root, ROOT, begin=NOW - 2 * DAY)


def test_a_list_that_revokes_who_issues() -> None:
    """Refused until another one is in charge; then the intermediate is revoked here too, for the list's reason."""
    authority = imported(ISSUING, POLICY, ROOT)
    policy = authority.path[1]
    serial_number = POLICY.certificate.serial_number
    with pytest.raises(ValidationError, match="put another CA in charge first"):
        give(authority.root, ROOT, serial_number)
    create_root(user=None)
    give(authority.root, ROOT, serial_number)
    assert CertificateAuthority.objects.get(pk=policy.pk).revocation_reason == RevocationReason.KEY_COMPROMISE


def test_a_list_that_misses_what_is_revoked_here() -> None:
    """A root whose key was taken away is used elsewhere; whoever signs there has to know what was revoked here."""
    root = ensure_authority()
    first, _ = create_intermediate(user=None), create_intermediate(user=None)
    revoke_intermediate(authority=first, reason=RevocationReason.SUPERSEDED, user=None)
    ours = CertificateAuthority.objects.get(pk=root.pk)
    key = ours.issuer().key
    removed = remove_key(authority=ours, confirmation=str(ours), user=None)
    values = {"issuer": ours.certificate.subject, "key": key, "begin": datetime.datetime.now(datetime.UTC)}
    with pytest.raises(ValidationError, match=f"{first} is revoked here, and this list does not name it"):
        give(removed, ROOT, **values)
    give(removed, ROOT, first.certificate.serial_number, **values)
    assert current_list(removed).is_given


def test_what_a_given_list_names_stays_named() -> None:
    """Of an intermediate that was in use before its import, and of a root whose key comes here: each later list repeats
    it, with a higher number."""
    authority = imported(ISSUING, POLICY, ROOT)
    give(authority, ISSUING, 1234, number=500)
    give(authority.root, ROOT, 4321, number=41)
    restore_key(authority=authority.root, private_key=ROOT.key_pem, user=None)
    with time_machine.travel(NOW + 3 * DAY, tick=False):
        refresh_lists()
        refresh_lists()
        for ca, serial_number, number in ((authority, 1234, 500), (authority.root, 4321, 41)):
            found = current_list(CertificateAuthority.objects.get(pk=ca.pk))
            (entry,) = found.revocation_list
            assert not found.is_given
            assert entry.serial_number == serial_number
            assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason.value == "keyCompromise"
            assert found.number > number


def test_a_number_that_no_column_takes() -> None:
    """RFC 5280 allows twenty octets; such a list gets the next number here and goes out as it is."""
    authority = imported(ISSUING, POLICY, ROOT)
    give(authority.root, ROOT, number=2**150)
    give(authority.root, ROOT, number=None, end=NOW + 31 * DAY)
    found = current_list(authority.root)
    assert found.number == 2
    assert "next_update" in str(AuditEntry.objects.filter(action="list given").latest("pk").changes)


def test_when_a_given_list_is_over() -> None:
    """It is left out of the file of all, and asked for alone the answer says whose business the next one is."""
    authority = imported(ISSUING, POLICY, ROOT)
    give(authority.root, ROOT)
    with time_machine.travel(NOW + 31 * DAY, tick=False):
        assert authority.root in without_list()
        assert authority.root not in [found.authority for found in current_lists()]
        with pytest.raises(KeyMissing, match=r"ended .* UTC, and its key is not here to sign one") as raised:
            current_list(authority.root)
        assert raised.value.code == "list_missing"


def test_a_list_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """In bytes: every trust bundle has it."""
    monkeypatch.setattr(given_lists, "MAX_LIST_BYTES", 400)
    authority = imported(ISSUING, POLICY, ROOT)
    with pytest.raises(ValidationError, match="is larger than"):
        give(authority.root, ROOT, *range(1, 20))
