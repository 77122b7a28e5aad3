"""The HTTPS section of the host editor's form."""

import re
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import QueryDict
from django.utils.datastructures import MultiValueDict

from hosts.forms import HostForm
from hosts.models import Host
from tests.hosts.examples import OTHER_SITE, SITE, make_host, site
from tests.support.pkcs12_files import SECRET, pkcs12_of

pytestmark = pytest.mark.django_db


def bound(
    instance: Host | None = None, *, issuing: bool = False, files: dict[str, bytes] | None = None, **values: Any
) -> HostForm:
    """A submitted editor."""
    data = QueryDict(mutable=True)
    data.update(
        {"name": "orders", "domains": "orders.example.com", "enabled": "on", "load_balancing": "round_robin", **values}
    )
    uploads = {name: SimpleUploadedFile(f"{name}.file", content) for name, content in (files or {}).items()}
    form = HostForm(data, MultiValueDict({name: [upload] for name, upload in uploads.items()}), instance=instance)
    form.user_id = 7
    form.is_issuing_server = issuing
    return form


def pair(**values: Any) -> dict[str, Any]:
    return {"https_certificate": SITE.chain_pem, "https_key": SITE.key_pem, **values}


def saved(form: HostForm) -> tuple[str, bytes]:
    assert form.is_valid(), form.errors
    return form.downstream.certificate, form.downstream.key.reveal()


def test_texts_and_files_come_to_the_same() -> None:
    """PEM, DER and PKCS#12; a file goes before a text."""
    expected = (SITE.chain_pem, SITE.key_pem.encode())
    encrypted = pair(https_key=SITE.encrypted_key_pem("sesame"), https_key_passphrase="sesame")
    assert saved(bound(**pair())) == expected
    assert saved(bound(**encrypted)) == expected
    files = {"https_certificate_file": SITE.chain_pem.encode(), "https_key_file": SITE.key_der}
    assert saved(bound(files=files, https_certificate="")) == expected
    files = {"https_certificate_file": pkcs12_of(SITE)}
    assert saved(bound(files=files, https_key_passphrase=SECRET)) == expected


def test_flags_are_saved_and_shown() -> None:
    """An empty max-age is 0."""
    form = bound(**pair(force_https="on", hsts_max_age_s="600"))
    assert form.is_valid(), form.errors
    assert (form.downstream.force_https, form.downstream.hsts_max_age_s) == (True, 600)
    host = make_host(downstream_tls=site(force_https=True, hsts_max_age_s=600))
    shown = HostForm(instance=host)
    assert (shown["force_https"].value(), shown["hsts_max_age_s"].value()) == (True, 600)
    emptied = bound(host, https_certificate=SITE.chain_pem, hsts_max_age_s="")
    assert emptied.is_valid(), emptied.errors
    assert (emptied.downstream.force_https, emptied.downstream.hsts_max_age_s) == (False, 0)


def test_errors_stand_at_the_fields() -> None:
    """In the words of the service."""
    assert list(bound(**pair(https_key=OTHER_SITE.key_pem)).errors) == ["https_key"]
    assert list(bound(force_https="on").errors) == ["force_https"]
    assert list(bound(**pair(hsts_max_age_s="-1")).errors) == ["hsts_max_age_s"]
    domains = "\n".join(f"d{number}.example.com" for number in range(101))
    assert "at most 100 names" in str(bound(issuing=True, domains=domains).errors["https_certificate"])


def test_a_stored_key_stays_and_an_emptied_certificate_clears_both() -> None:
    """A page without the section, such as a script's, changes nothing."""
    host = make_host(downstream_tls=site())
    assert saved(bound(host, https_certificate=SITE.chain_pem)) == (SITE.chain_pem, SITE.key_pem.encode())
    assert saved(bound(host)) == (SITE.chain_pem, SITE.key_pem.encode())
    form = bound(host, https_certificate="")
    assert form.is_valid(), form.errors
    assert (form.downstream.certificate, form.downstream.key) == ("", None)


def test_a_pasted_key_survives_other_errors_without_being_shown() -> None:
    """Sealed in a hidden field, for the same user and form only."""
    form = bound(**pair(name=""))
    page = form.as_p()
    token = str(form["kept_https_key"].value())
    assert SITE.key_pem.splitlines()[1] not in page
    assert re.search(r"The key you pasted is kept \(public key SHA-256 <code>[0-9a-f]{64}</code>\)", page)
    again = {"https_certificate": SITE.chain_pem, "kept_https_key": token}
    assert saved(bound(**again)) == (SITE.chain_pem, SITE.key_pem.encode())
    assert list(bound(make_host(), **again).errors) == ["https_key"]


def test_a_key_pasted_into_the_certificate_is_taken_and_not_echoed() -> None:
    """Also when another field has an error."""
    form = bound(name="", https_certificate=SITE.key_pem + SITE.chain_pem)
    page = form.as_p()
    assert SITE.key_pem.splitlines()[1] not in page
    assert form["https_certificate"].value() == SITE.chain_pem


def test_issuing_asks_for_nothing_and_allows_to_force_https() -> None:
    """Certificate and key follow."""
    form = bound(issuing=True, force_https="on", https_certificate="", hsts_max_age_s="60")
    assert form.is_valid(), form.errors
    assert form.downstream.force_https
