"""The admin pages that change the CAs."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from aegis_site.kernel.audit.models import AuditEntry
from localca.hierarchy import create_intermediate, create_root
from localca.keys import key_to_pem
from localca.models import CertificateAuthority
from localca.retirement import retire_authority
from localca.selectors import active_authority, trust_anchors
from localca.services import ensure_authority, issue_client_certificate
from tests.localca.test_given_lists import pem_of, their_list
from tests.localca.test_importing import ISSUING, POLICY, ROOT, imported

pytestmark = pytest.mark.django_db

LIST = reverse("admin:localca_certificateauthority_changelist")
PASSPHRASE = "correct horse battery"


def page(name: str, authority: CertificateAuthority | None = None) -> str:
    return reverse(f"admin:localca_certificateauthority_{name}", args=[authority.pk] if authority else [])


def errors(response: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = json.loads(response.context["form"].errors.as_json(escape_html=False))
    return {name: [problem["message"] for problem in problems] for name, problems in found.items()}  # type: ignore[index]


def test_a_get_changes_nothing(admin_client: Client) -> None:
    """Every page has a form with a CSRF token, and its GET makes no CA and no entry."""
    root = ensure_authority()
    create_intermediate(user=None)
    known, noted = CertificateAuthority.objects.count(), AuditEntry.objects.count()
    for name in ("new_intermediate", "new_root", "import_authority"):
        assert "csrfmiddlewaretoken" in admin_client.get(page(name)).content.decode()
    for name in ("export_key", "remove_key", "restore_key", "crl_place", "give_list", "retire", "revoke"):
        assert admin_client.get(page(name, root)).status_code == 200
    assert (CertificateAuthority.objects.count(), AuditEntry.objects.count()) == (known, noted)


def test_an_intermediate_and_the_roots_key(admin_client: Client) -> None:
    """Made on one page, exported on another, removed on a third, and the pages say so."""
    root = ensure_authority()
    made = admin_client.post(page("new_intermediate"), {"common_name": "Ours", "crl_url": ""}, follow=True)
    assert "New intermediate: done." in made.content.decode()
    active = active_authority()
    assert active is not None
    assert (str(active), active.parent) == ("Ours", root)
    secrets = {"passphrase": PASSPHRASE, "passphrase_again": PASSPHRASE}
    exported = admin_client.post(page("export_key", root), secrets)
    assert exported["Content-Type"] == "application/x-pkcs12"
    assert exported["Content-Disposition"] == f'attachment; filename="aegis-local-ca-{root.pk.hex[:8]}.p12"'
    assert "no-store" in exported["Cache-Control"]
    opened = load_pkcs12(exported.content, PASSPHRASE.encode())
    assert opened.key is not None
    as_pem = admin_client.post(page("export_key", root), {**secrets, "form": "pem"})
    assert as_pem["Content-Disposition"] == f'attachment; filename="aegis-local-ca-{root.pk.hex[:8]}.key"'
    assert as_pem.content.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    removed = admin_client.post(page("remove_key", root), {"confirmation": ""}, follow=True)
    assert "not stored here" in removed.content.decode()
    pem = key_to_pem(opened.key).decode()  # type: ignore[arg-type]
    restored = admin_client.post(page("restore_key", root), {"private_key": pem, "passphrase": ""}, follow=True)
    assert "sealed in the database" in restored.content.decode()
    history = admin_client.get(reverse("admin:localca_certificateauthority_history", args=[root.pk])).content.decode()
    for action in ("key exported", "key removed", "key restored", "replaced"):
        assert action in history.lower()


def test_what_is_wrong_is_at_its_field(admin_client: Client) -> None:
    """And neither key nor passphrase comes back."""
    root = ensure_authority()
    mistyped = admin_client.post(page("export_key", root), {"passphrase": PASSPHRASE, "passphrase_again": "x" * 20})
    assert errors(mistyped) == {"passphrase_again": ["The two passphrases differ."]}
    assert PASSPHRASE not in mistyped.content.decode()
    values = {"certificate": ISSUING.pem, "private_key": ISSUING.key_pem, "passphrase": PASSPHRASE}
    refused = admin_client.post(page("import_authority"), values)
    assert list(errors(refused)) == ["certificate"]
    assert PASSPHRASE not in refused.content.decode()
    assert ISSUING.key_pem.splitlines()[1] not in refused.content.decode()
    needed = admin_client.post(page("remove_key", root), {"confirmation": str(root)})
    assert "create an intermediate first" in errors(needed)["__all__"][0]
    # Once only "Please correct the error below." was on the page, and nothing below.
    assert "create an intermediate first" in needed.content.decode()


def test_an_import(admin_client: Client) -> None:
    """The organisation's CA issues, and its root is in the trust bundle."""
    ensure_authority()
    values = {"certificate": ISSUING.pem + POLICY.pem, "private_key": ISSUING.key_pem, "root_certificate": ROOT.pem}
    response = admin_client.post(page("import_authority"), values, follow=True)
    assert "Import intermediate: done." in response.content.decode()
    assert trust_anchors()[0].certificate == ROOT.certificate


def test_a_change_of_the_root(admin_client: Client) -> None:
    """The old one's page says what depends on it, and retires it when nothing does."""
    old = ensure_authority()
    record = issue_client_certificate(common_name="orders").record
    admin_client.post(page("new_root"), {"common_name": "", "crl_url": ""})
    content = admin_client.get(page("retire", old)).content.decode()
    assert "CN=orders</a> is valid until" in content
    assert "It issues" not in content
    assert "is still needed" in errors(admin_client.post(page("retire", old)))["__all__"][0]
    record.delete()
    assert "Nothing: it can be retired." in admin_client.get(page("retire", old)).content.decode()
    assert "Retired" in admin_client.post(page("retire", old), follow=True).content.decode()


def test_revoking_an_intermediate(admin_client: Client) -> None:
    """With a reason, once another one issues."""
    ensure_authority()
    old = create_intermediate(user=None)
    refused = admin_client.post(page("revoke", old), {"reason": "superseded"})
    assert "put another CA in charge" in errors(refused)["__all__"][0]
    create_intermediate(user=None)
    assert "Revoked" in admin_client.post(page("revoke", old), {"reason": "superseded"}, follow=True).content.decode()


def test_what_a_ca_offers(admin_client: Client) -> None:
    """Only what it admits."""
    old = ensure_authority()
    intermediate = create_intermediate(user=None)
    new = create_root(user=None)

    def offered(authority: CertificateAuthority) -> set[str]:
        content = admin_client.get(page("change", authority)).content.decode()
        names = ("export_key", "remove_key", "restore_key", "crl_place", "give_list", "retire", "revoke")
        return {name for name in names if f'"{page(name, authority)}"' in content}

    assert offered(new) == {"export_key", "crl_place"}
    # Not remove_key, which the service refuses as long as peers trust it.
    assert offered(old) == {"export_key", "crl_place", "retire"}
    assert offered(intermediate) == {"export_key", "crl_place", "revoke"}
    retire_authority(authority=old, user=None)
    assert offered(old) == offered(intermediate) == {"export_key", "remove_key"}
    theirs = imported(ISSUING, POLICY, ROOT)
    assert offered(theirs) == {"export_key", "crl_place", "give_list"}
    assert offered(theirs.root) == {"restore_key", "give_list", "retire"}


def test_the_list_of_cas(admin_client: Client, django_assert_max_num_queries: Any) -> None:
    """Who issues, who is trusted, and where keys are; as many queries for four CAs as for one."""
    ensure_authority()
    create_intermediate(user=None)
    create_root(user=None)
    create_intermediate(user=None)
    with django_assert_max_num_queries(12):
        content = admin_client.get(LIST).content.decode()
    assert content.count("Intermediate CA") >= 2
    assert all(word in content for word in ("Issues", "Trusted", "Root"))


def test_an_unknown_ca(admin_client: Client) -> None:
    """404, and a place of the list only where it is."""
    ensure_authority()
    unknown = CertificateAuthority()
    assert admin_client.get(page("retire", unknown)).status_code == 404
    url = "http://aegis.example.com/crl"
    changed = admin_client.post(page("crl_place", ensure_authority()), {"crl_url": url}, follow=True)
    assert url in changed.content.decode()


def test_where_lists_are(admin_client: Client) -> None:
    """The form offers the place at the address of the request; its `{id}` becomes the id of the CA that is made."""
    ensure_authority()
    place = "http://testserver/api/v1/ca/authorities/{id}/crl"
    assert f'placeholder="{place}"' in admin_client.get(page("new_intermediate")).content.decode()
    refused = admin_client.post(page("new_intermediate"), {"common_name": "", "crl_url": "http://x/{name}"})
    assert "'{name}' stands for nothing here" in errors(refused)["crl_url"][0]
    admin_client.post(page("new_intermediate"), {"common_name": "", "crl_url": place})
    active = active_authority()
    assert active is not None
    assert active.crl_url == place.replace("{id}", str(active.pk))
    assert admin_client.get(active.crl_url).status_code == 200
    assert f'placeholder="{active.crl_url}"' in admin_client.get(page("crl_place", active)).content.decode()


def test_giving_a_list(admin_client: Client) -> None:
    """As a text or a DER file; the CA's page says that it is there, or that it is missing and where it may be had."""
    theirs = imported(ISSUING, POLICY, ROOT)
    root = theirs.root
    assert "not here: whoever has the key makes it" in admin_client.get(page("change", root)).content.decode()
    for values, field in (
        ({}, "crl"),
        ({"crl": "nonsense"}, "crl"),
        ({"crl": "x", "crl_file": SimpleUploadedFile("x.crl", b"x")}, "crl_file"),
        ({"crl_file": SimpleUploadedFile("x.crl", b"x")}, "crl"),
    ):
        assert list(errors(admin_client.post(page("give_list", root), values))) == [field]
    upload = SimpleUploadedFile("root.crl", their_list(ROOT).public_bytes(Encoding.DER))
    given = admin_client.post(page("give_list", root), {"crl_file": upload}, follow=True).content.decode()
    assert "7, with 0 revoked certificates; signed elsewhere and given here" in given
    policy = theirs.path[1]
    text = pem_of(their_list(POLICY))
    assert "done." in admin_client.post(page("give_list", policy), {"crl": text}, follow=True).content.decode()
    download = admin_client.get(page("revocation_list", root))
    assert download["Content-Disposition"] == 'attachment; filename="org-root.crl"'
