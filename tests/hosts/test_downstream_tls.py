"""What clients of a host are shown: what may be stored, and what the local CA issues."""

import uuid
from typing import Any

import pytest
from cryptography import x509
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from hosts.downstream_tls import apply_downstream_tls, check_issuable, common_name_of, issue_certificate
from hosts.models import DownstreamTLSConfiguration, Host
from hosts.services import update_host
from hosts.specs import DownstreamTLSChanges, HostSpec
from localca.models import IssuedCertificate
from localca.services import ensure_authority
from tests.hosts.examples import CA, OTHER_SITE, SITE, make_host, site
from tests.support.certificates import Authority
from tests.support.pkcs12_files import SECRET, pkcs12_of


def applied(
    changes: DownstreamTLSChanges, configuration: DownstreamTLSConfiguration | None = None
) -> DownstreamTLSConfiguration:
    configuration = configuration or DownstreamTLSConfiguration(host_id=uuid.UUID(int=1))
    apply_downstream_tls(configuration, changes)
    return configuration


def codes(changes: DownstreamTLSChanges, configuration: DownstreamTLSConfiguration | None = None) -> dict[str, str]:
    """Field and code of each error."""
    with pytest.raises(ValidationError) as refusal:
        applied(changes, configuration)
    return {name: str(errors[0].code) for name, errors in refusal.value.error_dict.items()}


def test_a_pair_is_stored_in_order_with_its_fingerprint() -> None:
    """The leaf first, the root left out, the key sealed."""
    intermediate = Authority("Intermediate", parent=CA)
    leaf = intermediate.server("orders.example.com")
    configuration = applied(site(certificate=CA.pem + intermediate.pem + leaf.chain_pem, key=leaf.key_pem))
    assert configuration.certificate == leaf.chain_pem
    assert configuration.key.reveal() == leaf.key_pem.encode()
    assert len(configuration.key_spki_sha256) == 64
    assert [facts.subject for facts in configuration.certificate_facts] == ["CN=orders.example.com", "CN=Intermediate"]


def test_encrypted_keys_pkcs12_and_keys_beside_the_certificate() -> None:
    """Whatever CAs hand out."""
    encrypted = site(key=SITE.encrypted_key_pem("sesame"), key_passphrase="sesame")
    beside = DownstreamTLSChanges(certificate=SITE.key_pem + SITE.chain_pem)
    whole = DownstreamTLSChanges(pkcs12=pkcs12_of(SITE), key_passphrase=SECRET)
    for changes in (encrypted, beside, whole):
        configuration = applied(changes)
        assert configuration.certificate == SITE.chain_pem
        assert configuration.key.reveal() == SITE.key_pem.encode()


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        (site(key=OTHER_SITE.key_pem), {"key": "key_mismatch"}),
        (DownstreamTLSChanges(certificate=SITE.chain_pem), {"key": "key_missing"}),
        (DownstreamTLSChanges(key=SITE.key_pem), {"certificate": "certificate_missing"}),
        (site(key=""), {"key": "key_missing"}),
        (site(key=SITE.encrypted_key_pem("sesame")), {"key": "key_encrypted"}),
        (site(certificate="x", hsts_max_age_s=-1), {"certificate": "bad_pem", "hsts_max_age_s": "invalid"}),
        (site(hsts_max_age_s=63_072_001), {"hsts_max_age_s": "invalid"}),
        (site(issue=True), {"issue": "conflict"}),
        (
            DownstreamTLSChanges(force_https=True, hsts_max_age_s=1),
            {"force_https": "certificate_missing", "hsts_max_age_s": "certificate_missing"},
        ),
    ],
)
def test_what_cannot_be_served_is_refused(changes: DownstreamTLSChanges, found: dict[str, str]) -> None:
    """With the field that is to blame."""
    assert codes(changes) == found


def test_what_is_not_named_stays() -> None:
    """A new certificate of the same key needs no key; an empty one clears both, unless clients are sent to HTTPS."""
    configuration = applied(site(force_https=True, hsts_max_age_s=600))
    applied(DownstreamTLSChanges(certificate=SITE.chain_pem), configuration)
    assert codes(DownstreamTLSChanges(certificate=OTHER_SITE.chain_pem), applied(site())) == {"key": "key_mismatch"}
    assert (configuration.force_https, configuration.hsts_max_age_s) == (True, 600)
    assert codes(DownstreamTLSChanges(certificate=""), applied(site(force_https=True))) == {
        "force_https": "certificate_missing"
    }
    applied(DownstreamTLSChanges(certificate="", force_https=False, hsts_max_age_s=0), configuration)
    assert (configuration.certificate, configuration.key, configuration.key_spki_sha256) == ("", None, "")


@pytest.mark.django_db
def test_the_local_ca_issues_for_all_domains() -> None:
    """Wildcards and addresses too, as names that clients compare."""
    host = make_host(domains=("*.orders.example.com", "orders.localhost", "192.0.2.1"))
    configuration = host.downstream_configuration
    record = issue_certificate(
        configuration, host=host, domains=["*.orders.example.com", "orders.localhost", "192.0.2.1"]
    )
    assert configuration.certificate_facts[0].subject_alt_names == (
        "DNS:*.orders.example.com",
        "DNS:orders.localhost",
        "IP:192.0.2.1",
    )
    assert (record.purpose, record.issued_for) == ("server", "host orders")
    configuration.chain[0].verify_directly_issued_by(ensure_authority().certificate)
    assert isinstance(configuration.chain[0], x509.Certificate)


@pytest.mark.django_db
def test_issuing_through_the_service_allows_to_force_https_at_once() -> None:
    """One request; what is wrong elsewhere in it issues nothing."""
    changes = DownstreamTLSChanges(issue=True, force_https=True)
    host = make_host(downstream_tls=changes)
    stored = DownstreamTLSConfiguration.objects.get(host=host)
    assert (stored.force_https, stored.has_key) == (True, True)
    with pytest.raises(ValidationError):
        update_host(host=host, spec=HostSpec(domains=("bad domain",), downstream_tls=changes), user=None)
    assert IssuedCertificate.objects.count() == 1


def test_more_domains_than_a_certificate_has_names() -> None:
    """Said before anything is saved."""
    check_issuable(["a.test"] * 100)
    with pytest.raises(ValidationError, match="at most 100 names; this host has 101"):
        check_issuable(["a.test"] * 101)


def test_common_name() -> None:
    """The first domain if it fits (RFC 5280 appendix A.1)."""
    host = Host(name="n" * 100)
    assert common_name_of(host, ["a.test", "b.test"]) == "a.test"
    assert common_name_of(host, [f"{'a' * 63}.test"]) == "n" * 64
    assert common_name_of(Host(name="n" + "é" * 64), [f"{'a' * 63}.test"]) == "n" + "é" * 31


@pytest.mark.django_db
@pytest.mark.parametrize(
    "wrong", [{"certificate": "PEM"}, {"key_spki_sha256": "00"}, {"force_https": True}, {"hsts_max_age_s": 1}]
)
def test_the_database_refuses_halves(wrong: dict[str, Any]) -> None:
    """Whoever writes past the service."""
    host = make_host()
    with pytest.raises(IntegrityError), transaction.atomic():
        DownstreamTLSConfiguration.objects.filter(host=host).update(**wrong)
