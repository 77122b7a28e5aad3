"""The form of the page "What if"."""

import pytest

from hosts.models import Host
from hosts.what_if_changes import Kind
from hosts.what_if_forms import WhatIfForm
from tests.hosts.examples import CA, LEAF, make_host, mtls
from tests.support.certificates import Authority

pytestmark = pytest.mark.django_db

OTHER_CA = Authority("Other CA")


def fingerprint_of(host: Host) -> str:
    return host.upstream_configuration.client_certificate_facts[0].fingerprint_sha256


def test_certificates_are_counted_by_host() -> None:
    """Each once, in order, however often a bundle has it; a pair that is not presented is not in use."""
    make_host("a", upstream_tls=mtls(ca_certificate=CA.pem + OTHER_CA.pem))
    make_host("b", upstream_tls=mtls(ca_certificate=CA.pem, enabled=False))
    form = WhatIfForm()
    labels = [label for _, label in form.fields["removed"].choices]  # type: ignore[attr-defined]
    assert [label.split(",")[0] for label in labels] == ["CN=Orders CA", "CN=Other CA"]
    assert [label[-9:] for label in labels] == ["(2 hosts)", " (1 host)"]
    ((_, label),) = form.fields["replaced"].choices  # type: ignore[attr-defined]
    assert label.startswith("CN=orders client")
    assert label.endswith("(1 host)")
    assert form.fields["revoked"].choices == []  # type: ignore[attr-defined]


def test_a_kind_reads_its_own_fields_only() -> None:
    """What the other forms of the page may have sent does not count."""
    form = WhatIfForm({"kind": "min_version", "min_version": "TLSv1.3", "ca_certificate": "no PEM"})
    assert form.is_valid(), form.errors
    assert form.change is not None
    assert (form.change.kind, form.change.settings.min_version) == (Kind.MIN_VERSION, "TLSv1.3")


def test_a_replacement() -> None:
    """With the key in no text of the form."""
    host = make_host(upstream_tls=mtls())
    values = {"client_certificate": LEAF.chain_pem, "client_key": LEAF.key_pem}
    form = WhatIfForm({"kind": "replace_certificate", "replaced": fingerprint_of(host), **values})
    assert form.is_valid(), form.errors
    assert form.change is not None
    assert form.change.certificate == fingerprint_of(host)
    assert LEAF.key_pem.splitlines()[1] not in form.as_p()
