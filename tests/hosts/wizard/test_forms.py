"""What people write for an upstream, and what of it is kept."""

import pytest
from django import forms
from django.core.exceptions import ValidationError

from hosts.models import Upstream
from hosts.specs import UpstreamSpec
from hosts.wizard.forms import (
    DomainsForm,
    UploadForm,
    UpstreamsForm,
    refuse,
    shown_upstreams,
    target_of_url,
    upstream_specs,
)
from tests.hosts.examples import LEAF, make_host


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("https://10.0.0.5:8443", ("https", "10.0.0.5", 8443)),
        ("HTTPS://Orders.Internal/", ("https", "orders.internal", 443)),
        ("http://orders", ("http", "orders", 80)),
        ("orders:8443", ("https", "orders", 8443)),
        ("10.0.0.5", ("https", "10.0.0.5", 443)),
        ("[2001:db8::1]:8443", ("https", "2001:db8::1", 8443)),
    ],
)
def test_an_upstream_is_read_as_it_is_meant(text: str, target: tuple[str, str, int]) -> None:
    """By default https."""
    assert target_of_url(text) == target


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ftp://x", "an upstream is reached by http or https."),
        ("https://x:port", "is no URL with an address and a port."),
        ("https://[::1", "is no URL with an address and a port."),
        ("https://", "write it as https://address:port."),
        ("https://user:password@x", "write it as https://address:port."),
        ("https://x/app", "leave out the path"),
        ("https://x?q=1", "leave out the path"),
        ("https://x#y", "leave out the path"),
    ],
)
def test_what_is_no_upstream_says_why(text: str, message: str) -> None:
    """And which one it is, shortened."""
    with pytest.raises(ValidationError, match=message.replace("?", r"\?")):
        target_of_url(text)
    with pytest.raises(ValidationError) as refused:
        target_of_url("ftp://" + "x" * 5000)
    assert len(refused.value.messages[0]) < 200


def test_all_errors_come_at_once() -> None:
    """One upstream twice is one."""
    form = UpstreamsForm({"upstreams": "ftp://a, https://b/c"})
    assert not form.is_valid()
    assert len(form.errors["upstreams"]) == 2
    form = UpstreamsForm({"upstreams": "https://a;https://a:443\nhttp://a"})
    assert form.is_valid()
    assert form.cleaned_data["upstreams"] == [("https", "a", 443), ("http", "a", 80)]
    assert not UpstreamsForm({"upstreams": ","}).is_valid()


def test_what_is_not_asked_for_is_kept() -> None:
    """Weights of those that stay, and those that are off."""
    stored = [
        Upstream(scheme="https", address="a", port=443, weight=7, backup=True),
        Upstream(scheme="https", address="b", port=443, enabled=False, drain=True),
    ]
    assert shown_upstreams(stored) == "https://a:443"
    assert upstream_specs([("https", "a", 443), ("http", "c", 80)], stored) == (
        UpstreamSpec(scheme="https", address="a", port=443, weight=7, backup=True),
        UpstreamSpec(scheme="http", address="c", port=80),
        UpstreamSpec(scheme="https", address="b", port=443, enabled=False, drain=True),
    )
    (again,) = upstream_specs([("https", "b", 443)], stored[1:])
    assert (again.enabled, again.drain) == (True, True)


def test_a_host_is_named_by_its_first_domain() -> None:
    """As far as a name is long, unless it gets another one."""
    form = DomainsForm({"domains": f"{'x' * 150}.test b.test"})
    assert form.is_valid()
    assert form.cleaned_data["name"] == "x" * 100
    form = DomainsForm({"domains": "a.test", "name": "orders"})
    assert form.is_valid()
    assert (form.cleaned_data["name"], form.cleaned_data["domains"]) == ("orders", ("a.test",))


def test_errors_of_services_find_their_fields() -> None:
    """By the first part of their path; what has none here belongs to the form."""

    class Form(forms.Form):
        upstreams = forms.CharField()
        server_name = forms.CharField()

    form = Form({"upstreams": "x", "server_name": "x"})
    assert form.is_valid()
    refuse(form, ValidationError({"upstreams[3].port": ["a"], "upstream_tls.server_name": ["b"], "elsewhere": ["c"]}))
    refuse(form, ValidationError("d"))
    assert form.errors == {"upstreams": ["a"], "server_name": ["b"], "__all__": ["c", "d"]}


@pytest.mark.django_db
def test_an_upload_asks_for_a_pair_and_nothing_else() -> None:
    """So that it cannot change what verifies the upstream."""
    form = UploadForm({"client_certificate": LEAF.chain_pem, "client_key": LEAF.key_pem}, instance=make_host())
    assert set(form.fields) == {
        *("client_certificate", "client_certificate_file", "client_key", "client_key_file"),
        *("kept_client_key", "client_key_passphrase"),
    }
    assert form.is_valid()
    assert form.changes.enabled is True
    assert LEAF.key_pem not in repr(form.changes)
