"""The host editor's forms, without a browser."""

import datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, pkcs12
from django.core.files.uploadedfile import SimpleUploadedFile
from django.forms import inlineformset_factory
from django.http import QueryDict
from django.utils.datastructures import MultiValueDict

from hosts.forms import HostForm, UpstreamForm, UpstreamFormSet
from hosts.models import Host, Upstream
from hosts.specs import UpstreamSpec
from tests.hosts.examples import CA, LEAF, OTHER_LEAF, make_host, mtls
from tests.support.odd_certificates import pem, revocation_list
from upstream_tls.changes import UpstreamTLSChanges
from upstream_tls.kept_key import open_key, seal_key

pytestmark = pytest.mark.django_db


def bound(
    instance: Host | None = None, *, issuing: bool = False, files: dict[str, bytes] | None = None, **values: Any
) -> HostForm:
    """A submitted editor; a value of None leaves its field out."""
    fields = {
        "name": "orders",
        "domains": "orders.example.com",
        "enabled": "on",
        "load_balancing": "round_robin",
        **values,
    }
    data = QueryDict(mutable=True)
    data.update({name: value for name, value in fields.items() if value is not None})
    uploads = {name: SimpleUploadedFile(f"{name}.file", content) for name, content in (files or {}).items()}
    form = HostForm(data, MultiValueDict({name: [upload] for name, upload in uploads.items()}), instance=instance)
    form.user_id = 7
    form.is_issuing = issuing
    return form


def mtls_fields(**values: Any) -> dict[str, Any]:
    return {"tls_enabled": "on", "client_certificate": LEAF.chain_pem, "client_key": LEAF.key_pem, **values}


def kept_key(form: HostForm, subject: str = "new") -> str | None:
    return open_key(str(form["kept_client_key"].value() or ""), user_id=7, subject=subject)


def test_domains_are_one_text() -> None:
    """Lines, commas, blanks and semicolons separate; errors stand at the field."""
    form = bound(domains="a.example, *.a.example\r\nB.example; c.example  d.example,,")
    assert form.is_valid(), form.errors
    assert form.cleaned_data["domains"] == ["a.example", "*.a.example", "b.example", "c.example", "d.example"]
    assert bound(domains="a.example, b_d.example").errors == {"domains": ["'b_d.example' is not a domain name."]}
    assert bound(domains=" , ").errors == {"domains": ["Enter at least one domain."]}


def test_upstream_tls_has_exactly_the_documented_labels() -> None:
    """The words of the documentation, in its order."""
    labels = [field.label for name, field in HostForm().fields.items() if name in DOCUMENTED]
    assert labels == [
        "Enable mTLS",
        "Client Certificate",
        "Client Key",
        "CA Certificate",
        "Skip TLS Verification",
        "Server Name Override",
    ]


DOCUMENTED = {"tls_enabled", "client_certificate", "client_key", "ca_certificate", "skip_verify", "server_name"}


def test_a_valid_editor_yields_a_configuration_to_save() -> None:
    """The key is sealed in it; the passphrase is gone."""
    key = LEAF.encrypted_key_pem("a secret")
    form = bound(**mtls_fields(client_key=key, client_key_passphrase="a secret", ca_certificate=CA.pem))
    assert form.is_valid(), form.errors
    assert form.configuration.enabled
    assert form.configuration.client_key.reveal() == LEAF.key_pem.encode()


def test_errors_stand_at_the_fields() -> None:
    """Also the one that belongs to the switch's own name."""
    form = bound(**mtls_fields(client_key=OTHER_LEAF.key_pem, server_name="a b", ca_certificate="x"))
    assert form.errors == {
        "client_key": ["tls: private key does not match public key"],
        "server_name": ["'a b' is not a DNS name."],
        "ca_certificate": ["This is not PEM: the line -----BEGIN CERTIFICATE----- is missing."],
    }


def test_a_pasted_key_survives_other_errors_without_being_shown() -> None:
    """The form carries it sealed, says so, and takes it when it comes back."""
    form = bound(**mtls_fields(server_name="a b"))
    assert not form.is_valid()
    shown = form.as_p()
    assert "The key you pasted is kept" in shown
    assert LEAF.key_pem.splitlines()[1] not in shown
    assert kept_key(form) == LEAF.key_pem

    token = form["kept_client_key"].value()
    again = bound(**mtls_fields(client_key="", kept_client_key=token))
    assert again.is_valid(), again.errors
    assert again.configuration.client_key.reveal() == LEAF.key_pem.encode()


def test_an_encrypted_key_waits_for_its_passphrase() -> None:
    """It is kept as it was pasted, so that only the passphrase has to be entered."""
    form = bound(**mtls_fields(client_key=LEAF.encrypted_key_pem("a secret")))
    assert form.errors == {"client_key": ["This key is encrypted: its passphrase is needed."]}
    token = form["kept_client_key"].value()
    again = bound(**mtls_fields(client_key="", kept_client_key=token, client_key_passphrase="a secret"))
    assert again.is_valid(), again.errors


def test_what_is_no_key_is_not_kept() -> None:
    """Nor is an older kept key, when another text was pasted over it."""
    token = seal_key(LEAF.key_pem, user_id=7, subject="new")
    form = bound(**mtls_fields(client_key="rubbish", kept_client_key=token))
    assert not form.is_valid()
    assert kept_key(form) is None


def test_a_kept_key_of_another_form_is_refused() -> None:
    """It must not silently leave the stored key in place."""
    host = make_host(upstream_tls=mtls())
    token = seal_key(OTHER_LEAF.key_pem, user_id=8, subject=str(host.pk))
    form = bound(host, **mtls_fields(client_key="", kept_client_key=token))
    assert form.errors == {"client_key": ["The kept key is lost: paste it again."]}


def test_a_key_pasted_into_a_certificate_field_is_not_echoed() -> None:
    """The most frequent mistake must not print the key into the page."""
    form = bound(**mtls_fields(client_certificate=LEAF.key_pem, ca_certificate=CA.pem + LEAF.key_pem))
    assert set(form.errors) == {"client_certificate", "ca_certificate"}
    assert LEAF.key_pem.splitlines()[1] not in form.as_p()


def test_a_stored_key_stays_unless_replaced_or_removed() -> None:
    """An empty field keeps it; the box removes it; a new key beside the box replaces it."""
    host = make_host(upstream_tls=mtls())

    def saved_key(**values: Any) -> bytes | None:
        form = bound(Host.objects.get(pk=host.pk), **{"client_certificate": LEAF.chain_pem, **values})
        assert form.is_valid(), form.errors
        key = form.configuration.client_key
        return None if key is None else bytes(key.reveal())

    assert saved_key(tls_enabled="on") == LEAF.key_pem.encode()
    assert saved_key(clear_client_key="on") is None
    assert saved_key(clear_client_key="on", client_key=LEAF.key_pem) == LEAF.key_pem.encode()


def test_the_editor_shows_what_is_stored_and_not_the_key() -> None:
    """Initial values come from the configuration; of the key its fingerprint only."""
    form = HostForm(instance=make_host(upstream_tls=mtls(server_name="orders.internal")))
    shown = form.as_p()
    assert "A key is stored (public key SHA-256 <code>" in shown
    assert form["client_certificate"].value() == LEAF.chain_pem
    assert form["server_name"].value() == "orders.internal"
    assert "PRIVATE KEY" not in shown
    assert "clear_client_key" not in HostForm().fields


def test_a_refused_form_leaves_the_stored_configuration_visible() -> None:
    """Below the errors, the page shows the facts of what is stored, not of what was refused."""
    host = make_host(upstream_tls=mtls())
    assert not bound(host, **mtls_fields(client_certificate="x")).is_valid()
    assert host.upstream_tls.client_certificate == LEAF.chain_pem


def test_issuing_does_not_ask_for_a_certificate() -> None:
    """Certificate and key come right after, whatever stands in their fields."""
    form = bound(issuing=True, tls_enabled="on", client_certificate="half a paste", server_name="orders.internal")
    assert form.is_valid(), form.errors
    assert not form.configuration.enabled
    assert form.configuration.server_name == "orders.internal"


# Files

PKCS12 = pkcs12.serialize_key_and_certificates(
    b"orders", LEAF.key, LEAF.certificate, [CA.certificate], BestAvailableEncryption(b"a secret")
)
ENABLED = {"tls_enabled": "on"}


def saved_pair(form: HostForm) -> tuple[str, bytes]:
    assert form.is_valid(), form.errors
    return form.configuration.client_certificate, form.configuration.client_key.reveal()


def test_files_take_the_place_of_texts() -> None:
    """In DER or PEM, for all four fields, whatever stood in the texts."""
    crl = revocation_list(CA, now=datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC))
    form = bound(
        **mtls_fields(client_certificate=OTHER_LEAF.chain_pem, client_key=OTHER_LEAF.key_pem, ca_certificate="x"),
        crl="x",
        files={
            "client_certificate_file": LEAF.certificate.public_bytes(Encoding.DER),
            "client_key_file": LEAF.key_der,
            "ca_certificate_file": CA.pem.encode("utf-16"),
            "crl_file": crl.public_bytes(Encoding.DER),
        },
    )
    assert saved_pair(form) == (LEAF.chain_pem, LEAF.key_pem.encode())
    assert (form.configuration.ca_certificate, form.configuration.crl) == (CA.pem, pem(crl))


@pytest.mark.parametrize("field", ["client_certificate_file", "client_key_file"])
def test_a_pkcs12_file_fills_certificate_and_key(field: str) -> None:
    """In either field, over whatever the page showed."""
    form = bound(
        **ENABLED,
        client_certificate=OTHER_LEAF.chain_pem,
        client_key_passphrase="a secret",
        files={field: PKCS12},
    )
    assert saved_pair(form) == (LEAF.chain_pem, LEAF.key_pem.encode())
    assert form.notices == ["The root CN=Orders CA was left out: the upstream has it, or would not trust it."]


def test_a_pkcs12_file_waits_for_its_passphrase() -> None:
    """It is kept sealed, so that only the passphrase has to be entered; with a wrong one, again."""
    form = bound(**ENABLED, files={"client_certificate_file": PKCS12})
    assert form.errors == {"client_certificate_file": ["This PKCS#12 file is encrypted: its passphrase is needed."]}
    assert "What you uploaded is kept and waits for its passphrase" in form.as_p()
    form = bound(**ENABLED, kept_client_key=form["kept_client_key"].value(), client_key_passphrase="wrong")
    assert form.errors == {"client_certificate_file": ["The passphrase does not open this PKCS#12 file."]}
    form = bound(**ENABLED, kept_client_key=form["kept_client_key"].value(), client_key_passphrase="a secret")
    assert saved_pair(form) == (LEAF.chain_pem, LEAF.key_pem.encode())


def test_nothing_uploaded_is_lost_in_an_error_elsewhere() -> None:
    """Certificates come back as text, the key sealed: the second try needs no file and no passphrase."""
    form = bound(
        **ENABLED,
        server_name="a b",
        client_key_passphrase="a secret",
        files={"client_certificate_file": PKCS12, "ca_certificate_file": CA.certificate.public_bytes(Encoding.DER)},
    )
    assert list(form.errors) == ["server_name"]
    shown = form.as_p()
    assert LEAF.key_pem.splitlines()[1] not in shown
    assert "The root CN=Orders CA was left out" in shown
    again = bound(
        **ENABLED, **{name: form[name].value() for name in ("client_certificate", "ca_certificate", "kept_client_key")}
    )
    assert saved_pair(again) == (LEAF.chain_pem, LEAF.key_pem.encode())
    assert again.configuration.ca_certificate == CA.pem


def test_a_combined_paste_is_taken_apart() -> None:
    """The key goes where it belongs, is said to, and survives an error elsewhere without being shown."""
    combined = LEAF.key_pem + LEAF.chain_pem + CA.pem
    form = bound(**ENABLED, client_certificate=combined)
    assert saved_pair(form) == (LEAF.chain_pem, LEAF.key_pem.encode())
    assert form.notices[0] == "The private key that stood beside the certificate was taken as Client Key."

    form = bound(**ENABLED, client_certificate=combined, server_name="a b")
    assert not form.is_valid()
    assert form["client_certificate"].value() == LEAF.chain_pem
    assert kept_key(form) == LEAF.key_pem
    assert LEAF.key_pem.splitlines()[1] not in form.as_p()


def test_a_new_certificate_is_compared_with_the_stored_key() -> None:
    """Replacing one of the two alone is an error at the key; replacing both is not."""
    host = make_host(upstream_tls=mtls())
    other = {"client_certificate_file": OTHER_LEAF.chain_pem.encode()}
    mismatch = {"client_key": ["tls: private key does not match public key"]}
    assert bound(host, **ENABLED, files=other).errors == mismatch
    only_key = bound(host, **ENABLED, client_certificate=LEAF.chain_pem, files={"client_key_file": OTHER_LEAF.key_der})
    assert only_key.errors == mismatch
    assert kept_key(only_key, str(host.pk)) == OTHER_LEAF.key_pem
    both = bound(host, **ENABLED, files={**other, "client_key_file": OTHER_LEAF.key_der})
    assert saved_pair(both) == (OTHER_LEAF.chain_pem, OTHER_LEAF.key_pem.encode())


def test_rubbish_in_a_file_is_an_error_at_the_text_and_not_shown() -> None:
    """Bytes that are nothing known do not fill the page."""
    form = bound(**ENABLED, files={"client_certificate_file": b"\xff\xfe\0rubbish", "ca_certificate_file": b"\0" * 9})
    assert {"client_certificate", "ca_certificate"} <= set(form.errors)
    assert "rubbish" not in form.as_p()


# Advanced settings


def test_advanced_settings_are_read_and_shown() -> None:
    """Lists as lists; what the page did not send is left alone."""
    pin = "ab" * 32
    form = bound(
        verify_name="spiffe://example.org/orders",
        min_version="TLSv1.3",
        max_version="TLSv1.3",
        alpn="http/1.1, http/1.0",
        pinned_spki_sha256=f"{pin}\r\n{'CD' * 32}",
        verify_depth="2",
    )
    assert form.is_valid(), form.errors
    stored = form.configuration
    assert (stored.verify_name, stored.min_version, stored.verify_depth) == (
        "spiffe://example.org/orders",
        "TLSv1.3",
        2,
    )
    assert (stored.alpn, stored.pinned_spki_sha256) == (["http/1.1", "http/1.0"], [pin, "cd" * 32])

    host = make_host(upstream_tls=UpstreamTLSChanges(alpn=("http/1.0",), pinned_spki_sha256=(pin,), verify_depth=2))
    shown = HostForm(instance=host)
    assert [shown[name].value() for name in ("alpn", "pinned_spki_sha256", "verify_depth")] == ["http/1.0", pin, 2]
    untouched = bound(host)
    assert untouched.is_valid(), untouched.errors
    assert (untouched.configuration.alpn, untouched.configuration.verify_depth) == (["http/1.0"], 2)
    cleared = bound(host, alpn="", pinned_spki_sha256="", verify_depth="")
    assert cleared.is_valid(), cleared.errors
    assert (cleared.configuration.alpn, cleared.configuration.pinned_spki_sha256) == ([], [])
    assert cleared.configuration.verify_depth is None


def test_errors_of_advanced_settings_stand_at_their_fields() -> None:
    """The same rules as in the API."""
    form = bound(
        verify_name="a b",
        min_version="TLSv1.3",
        max_version="TLSv1.2",
        ciphers="nonsense",
        alpn="h2",
        crl=CA.pem,
        pinned_spki_sha256="x",
        verify_depth="99",
    )
    assert set(form.errors) == {
        "verify_name",
        "max_version",
        "ciphers",
        "alpn",
        "crl",
        "pinned_spki_sha256",
        "verify_depth",
    }
    assert list(bound(verify_depth="x", min_version="SSLv3").errors) == ["min_version", "verify_depth"]


# Upstreams


def rows(host: Host, *values: dict[str, Any]) -> UpstreamFormSet:
    stored = list(host.upstreams.all())
    factory = inlineformset_factory(Host, Upstream, form=UpstreamForm, formset=UpstreamFormSet, extra=0)
    data = QueryDict(mutable=True)
    data.update({"upstreams-TOTAL_FORMS": len(values), "upstreams-INITIAL_FORMS": len(stored)})
    for number, changes in enumerate(values):
        identifier = stored[number].pk if number < len(stored) else ""
        row = {
            "id": identifier,
            "position": "",
            "scheme": "https",
            "port": "443",
            "weight": "1",
            "enabled": "on",
            **changes,
        }
        data.update({f"upstreams-{number}-{name}": value for name, value in row.items()})
    return factory(data=data, instance=host, prefix="upstreams")


def test_new_rows_come_last_and_dragged_rows_where_they_were_put() -> None:
    """Positions are what was dragged; rows without one follow in the order of the page."""
    host = make_host(upstreams=(UpstreamSpec(address="a", port=443), UpstreamSpec(address="b", port=443)))
    formset = rows(
        host, {"address": "a", "position": 1}, {"address": "b", "position": 0}, {"address": "c"}, {"address": "d"}
    )
    assert formset.is_valid(), formset.errors
    formset.save()
    assert [upstream.address for upstream in host.upstreams.all()] == ["b", "a", "c", "d"]


def test_an_empty_row_is_no_upstream_also_when_it_was_dragged_over() -> None:
    """Dragging numbers the empty rows too."""
    host = make_host()
    formset = rows(host, {"address": "10.0.0.7", "port": "9443", "position": 0}, {"position": "1", "address": ""})
    assert formset.is_valid(), formset.errors
    formset.save()
    assert host.upstreams.count() == 1


def test_a_bad_row_has_its_error_at_the_field() -> None:
    """The same rules as in the API."""
    formset = rows(make_host("other"), {"address": "https://a"}, {"address": "a", "port": "70000"})
    assert not formset.is_valid()
    assert [list(errors) for errors in formset.errors] == [["address"], ["port"]]


def test_an_exception_from_verification_in_the_editor() -> None:
    """Reason and end date are taken while there is one; what a hidden field sends is not."""
    exception = {"skip_verify_reason": "renewal", "skip_verify_until": "2099-01-01T12:30"}
    form = bound(skip_verify="on", **exception)
    form.user_name = "anna"
    assert form.is_valid(), form.errors
    assert (form.configuration.skip_verify_by, form.configuration.skip_verify_reason) == ("anna", "renewal")
    assert form.configuration.skip_verify_until == datetime.datetime(2099, 1, 1, 12, 30, tzinfo=datetime.UTC)
    assert 'value="2099-01-01T12:30"' in str(form["skip_verify_until"])
    form = bound(**exception)
    assert form.is_valid(), form.errors
    assert (form.configuration.skip_verify_reason, form.configuration.skip_verify_until) == ("", None)
    assert "skip_verify_until" in bound(skip_verify="on", skip_verify_until="2020-01-01T12:30").errors
