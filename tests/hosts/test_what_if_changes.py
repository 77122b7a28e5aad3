"""What may be asked, whom it concerns, and what they would be."""

import pytest
from django.core.exceptions import ValidationError
from pytest_django import DjangoAssertNumQueries

from hosts.models import Host
from hosts.services import install_issued_certificate, update_host
from hosts.specs import HostSpec
from hosts.what_if_changes import Change, Kind, candidate, concerned_hosts, note_on, planned
from localca.models import IssuedCertificate
from localca.services import ensure_authority
from tests.hosts.examples import CA, LEAF, OTHER_LEAF, make_host, mtls, site
from tests.support.certificates import Authority
from upstream_tls.changes import UpstreamTLSChanges
from upstream_tls.models import UpstreamTLSConfiguration

pytestmark = pytest.mark.django_db

OTHER_CA = Authority("Other CA")


def names(change: Change) -> list[str]:
    return [host.name for host in concerned_hosts(change)]


def fingerprint_of(host: Host) -> str:
    return host.upstream_configuration.client_certificate_facts[0].fingerprint_sha256


@pytest.mark.parametrize(
    ("kind", "certificate", "settings", "field", "code"),
    [
        (Kind.REMOVE_CA_CERTIFICATE, "ab", UpstreamTLSChanges(), "", "invalid"),
        (Kind.REMOVE_CA_CERTIFICATE, "", UpstreamTLSChanges(), "", "invalid"),
        (Kind.REMOVE_CA_CERTIFICATE, "\x00" * 300, UpstreamTLSChanges(), "", "invalid"),
        (Kind.REVOKE_CERTIFICATE, "not hex", UpstreamTLSChanges(), "", "invalid"),
        (Kind.REVOKE_CERTIFICATE, "ab", UpstreamTLSChanges(), "", "unknown_certificate"),
        (Kind.MIN_VERSION, "", UpstreamTLSChanges(min_version="TLSv1.1"), "min_version", "invalid_choice"),
        (Kind.CA_CERTIFICATE, "", UpstreamTLSChanges(ca_certificate="no PEM"), "ca_certificate", "bad_pem"),
        (
            Kind.REPLACE_CERTIFICATE,
            "ab" * 32,
            mtls(client_key=OTHER_LEAF.key_pem),
            "client_key",
            "key_mismatch",
        ),
    ],
)
def test_what_no_host_could_have_is_refused(
    kind: Kind, certificate: str, settings: UpstreamTLSChanges, field: str, code: str
) -> None:
    """Before any host is looked at; keyed by setting, or by nothing for the certificate that is named."""
    with pytest.raises(ValidationError) as caught:
        planned(kind, certificate=certificate, settings=settings)
    errors = caught.value.error_dict[field] if field else caught.value.error_list
    assert [error.code for error in errors] == [code]


def test_a_fingerprint_is_typed_as_tools_print_it() -> None:
    """In capitals and with colons."""
    typed = ":".join(["AB"] * 32)
    assert planned(Kind.REMOVE_CA_CERTIFICATE, certificate=f" {typed}\n").certificate == "ab" * 32


def test_a_certificate_that_nobody_uses_is_an_error() -> None:
    """Never "nothing would break"."""
    make_host(upstream_tls=mtls(ca_certificate=CA.pem))
    for kind in (Kind.REMOVE_CA_CERTIFICATE, Kind.REPLACE_CERTIFICATE):
        with pytest.raises(ValidationError) as caught:
            concerned_hosts(planned(kind, certificate="ab" * 32))
        assert caught.value.code == "unknown_certificate"


def test_whom_a_ca_certificate_concerns() -> None:
    """The hosts that have it in their bundle; the candidate has all but it."""
    both = make_host("both", upstream_tls=UpstreamTLSChanges(ca_certificate=CA.pem + OTHER_CA.pem))
    make_host("one", upstream_tls=UpstreamTLSChanges(ca_certificate=CA.pem, skip_verify=True))
    make_host("none")
    make_host("alone", upstream_tls=UpstreamTLSChanges(ca_certificate=CA.pem))
    fingerprint = both.upstream_configuration.ca_certificate_facts[0].fingerprint_sha256
    change = planned(Kind.REMOVE_CA_CERTIFICATE, certificate=fingerprint)
    assert names(change) == ["alone", "both", "one"]
    assert candidate(both, change).ca_certificate == OTHER_CA.pem
    assert UpstreamTLSConfiguration.objects.get(host=both).ca_certificate == CA.pem + OTHER_CA.pem
    assert note_on(both, change) == ""
    assert "system trust store" in note_on(Host.objects.get(name="alone"), change)
    assert "not verified" in note_on(Host.objects.get(name="one"), change)
    replaced = planned(Kind.CA_CERTIFICATE, settings=UpstreamTLSChanges(ca_certificate=OTHER_CA.pem))
    assert names(replaced) == ["alone", "both", "none", "one"]
    assert "not verified" in note_on(Host.objects.get(name="one"), replaced)


def test_whom_a_client_certificate_concerns() -> None:
    """Who presents it, or the named host, which need not present any; the candidate presents the new one."""
    first = make_host("first", upstream_tls=mtls())
    make_host("off", upstream_tls=mtls(enabled=False))
    make_host("other", upstream_tls=mtls(client_certificate=OTHER_LEAF.chain_pem, client_key=OTHER_LEAF.key_pem))
    bare = make_host("bare")
    new = mtls(client_certificate=OTHER_LEAF.chain_pem, client_key=OTHER_LEAF.key_pem)
    change = planned(Kind.REPLACE_CERTIFICATE, certificate=fingerprint_of(first), settings=new)
    assert names(change) == ["first"]
    assert LEAF.key_pem.splitlines()[1] not in repr(change)
    assert OTHER_LEAF.key_pem.splitlines()[1] not in repr(change)
    of_bare = planned(Kind.REPLACE_CERTIFICATE, settings=new, host_ids=[bare.pk])
    assert names(of_bare) == ["bare"]
    assert candidate(bare, of_bare).enabled
    assert not UpstreamTLSConfiguration.objects.get(host=bare).enabled


def test_whom_a_revocation_concerns() -> None:
    """Who presents the certificate upstream, and who shows it to clients."""
    ensure_authority()
    client = make_host("client")
    record = install_issued_certificate(host=client, user=None)
    change = planned(Kind.REVOKE_CERTIFICATE, certificate=record.serial_number)
    assert names(change) == ["client"]
    assert not change.is_testable
    assert "has no other" in note_on(Host.objects.get(name="client"), change)
    shown = make_host("shown", downstream_tls=site())
    update_host(host=shown, spec=HostSpec(downstream_tls=site(certificate="", key="", issue=True)), user=None)
    server = IssuedCertificate.objects.get(purpose="server")
    change = planned(Kind.REVOKE_CERTIFICATE, certificate=server.serial_number)
    assert names(change) == ["shown"]
    assert "to its clients" in note_on(Host.objects.get(name="shown"), change)


def test_the_number_of_queries_does_not_grow(django_assert_max_num_queries: DjangoAssertNumQueries) -> None:
    """Six, whatever the number of hosts."""
    for index in range(12):
        make_host(f"host-{index}", upstream_tls=mtls(ca_certificate=CA.pem))
    fingerprint = fingerprint_of(Host.objects.all()[0])
    change = planned(Kind.REPLACE_CERTIFICATE, certificate=fingerprint, settings=mtls())
    with django_assert_max_num_queries(6):
        found = concerned_hosts(change)
        assert [note_on(host, change) for host in found] == [""] * 12
