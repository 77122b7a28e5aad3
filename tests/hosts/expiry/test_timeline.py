"""The one timeline."""

import datetime
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from pytest_django import DjangoAssertNumQueries

from hosts.connection_tests import request_tests_as_stored
from hosts.expiry.expiring import ABOUT, Expiring, Role
from hosts.expiry.timeline import ExpiryFilter, expiring, timeline
from hosts.models import ConnectionTest, Host, Upstream
from localca.given_lists import give_list
from localca.models import CertificateAuthority, RevocationReason
from localca.revocation import revoke_certificate
from localca.services import ensure_authority, issue_client_certificate, renew_certificate
from tests.hosts.expiry.examples import CLIENT, DAY, LIST, NOW, SERVER, full_host, seen, shown
from tests.hosts.zoo_hosts import host_before
from tests.localca.test_given_lists import pem_of, their_list
from tests.localca.test_importing import ISSUING, POLICY, ROOT, imported
from tests.localca.test_importing import NOW as THEIR_NOW
from upstream_tls.zoo.running import run_zoo

pytestmark = pytest.mark.django_db


def found(now: datetime.datetime = NOW) -> list[tuple[Role, str]]:
    return sorted((one.role, one.subject) for one in expiring(now=now))


def of_role(role: Role, now: datetime.datetime = NOW) -> list[Expiring]:
    return [one for one in expiring(now=now) if one.role == role]


def test_everything_of_a_host_and_of_the_local_ca() -> None:
    """Each in its role: leaf and chain on both sides, CAs, lists, what the upstream showed, and what was issued."""
    ensure_authority()
    record = issue_client_certificate(common_name="partner", issued_for="the partner").record
    host = full_host()
    seen(host, shown("orders.internal", NOW + 3 * DAY), shown("Backend CA", NOW + 9 * DAY))
    authority = str(CertificateAuthority.objects.get())
    assert found() == sorted(
        [
            (Role.CLIENT, "CN=client"),
            (Role.CLIENT_CHAIN, "CN=Intermediate"),
            (Role.CA_ROOT, "CN=Root"),
            (Role.CA_INTERMEDIATE, "CN=Intermediate"),
            (Role.REVOCATION_LIST, "CN=Root"),
            (Role.SERVER, "CN=orders.example.com"),
            (Role.SERVER_CHAIN, "CN=Intermediate"),
            (Role.UPSTREAM, "CN=orders.internal"),
            (Role.UPSTREAM_CHAIN, "CN=Backend CA"),
            (Role.LOCAL_CA, f"CN={authority}"),
            (Role.LOCAL_REVOCATION_LIST, f"CN={authority}"),
            (Role.ISSUED, "CN=partner"),
        ]
    )
    (upstream,) = of_role(Role.UPSTREAM)
    assert (upstream.upstream, upstream.seen_at, upstream.owner) == ("10.0.0.7:9443", NOW, "orders")
    assert (upstream.not_after, upstream.pk) == (NOW + 3 * DAY, host.pk)
    (crl,) = of_role(Role.REVOCATION_LIST)
    assert crl.not_after == LIST.next_update_utc
    assert [one.not_after for one in of_role(Role.CLIENT)] == [CLIENT.certificate.not_valid_after_utc]
    assert [one.not_after for one in of_role(Role.SERVER)] == [SERVER.certificate.not_valid_after_utc]
    (issued,) = of_role(Role.ISSUED)
    assert (issued.owner, issued.pk, issued.not_after) == ("the partner", record.pk, record.not_after)


@pytest.mark.django_db(transaction=True)
def test_what_a_real_upstream_showed() -> None:
    """By Test Connection, with the moment of the test."""
    with run_zoo(["good"]) as zoo:
        host = host_before(zoo["good"])
        request_tests_as_stored(host=host, upstreams=host.upstreams.all(), user=None)
    (upstream,) = of_role(Role.UPSTREAM)
    test = ConnectionTest.objects.get()
    assert test.result is not None
    assert upstream.fingerprint_sha256 == test.result["chain"][0]["fingerprint_sha256"]
    assert upstream.not_after > NOW
    assert (upstream.upstream, upstream.seen_at) == (f"127.0.0.1:{zoo['good'].port}", test.finished_at)


def test_what_nobody_uses_is_left_out() -> None:
    """Hosts that are off, with what their upstreams showed, and a client certificate that is not presented."""
    seen(full_host("off"), shown("off.internal", NOW))
    Host.objects.update(enabled=False)
    assert found() == []
    Host.objects.update(enabled=True)
    host = Host.objects.get()
    host.upstream_tls.enabled = False
    host.upstream_tls.save()
    assert not {role for role, _ in found()} & {Role.CLIENT, Role.CLIENT_CHAIN}


@pytest.mark.parametrize(
    "change",
    [{"enabled": False}, {"scheme": "http"}, {"address": "10.0.0.9"}, {"port": 1}],
    ids=lambda change: str(*change),
)
def test_an_upstream_that_is_not_there_any_more(change: dict[str, Any]) -> None:
    """It is off, speaks no TLS, or is somewhere else by now: what was seen says nothing about it."""
    host = full_host()
    seen(host, shown("orders.internal", NOW))
    Upstream.objects.update(**change)
    assert of_role(Role.UPSTREAM) == []


def test_only_the_last_test_of_what_is_saved_counts() -> None:
    """Not one before it, not one of what was only edited; and no time that cannot be read."""
    host = full_host()
    seen(host, shown("former", NOW), created_at=NOW - DAY)
    seen(host, shown("present", NOW), shown("unreadable", None))
    seen(host, shown("edited", NOW), created_at=NOW + DAY, is_of_saved_host=False)
    assert [one.subject for one in of_role(Role.UPSTREAM)] == ["CN=present"]
    assert of_role(Role.UPSTREAM_CHAIN) == []
    seen(host, created_at=NOW + DAY)  # refused before it showed anything
    assert of_role(Role.UPSTREAM) == []


def test_issued_certificates_are_those_that_are_nowhere_else() -> None:
    """Not those that a host presents or an upstream showed, that were renewed or revoked, or that are over."""
    ensure_authority()
    presented, at_upstream, renewed, revoked, spare = (
        issue_client_certificate(common_name=name) for name in ("presented", "upstream", "renewed", "revoked", "spare")
    )
    host = full_host(client_certificate=presented.chain_pem, client_key=presented.key_pem.decode())
    seen(host, shown("upstream", NOW + DAY, at_upstream.record.fingerprint_sha256))
    renewal = renew_certificate(certificate=renewed.record, user=None)
    revoke_certificate(certificate=revoked.record, reason=RevocationReason.UNSPECIFIED, user=None)
    assert {one.pk for one in of_role(Role.ISSUED)} == {spare.record.pk, renewal.record.pk}
    assert of_role(Role.ISSUED, now=NOW + 4000 * DAY) == []


def test_a_ca_is_shown_until_it_is_retired() -> None:
    """Also one that issues no more, or is over; none that is over needs a list."""
    end = ensure_authority().facts.not_after
    CertificateAuthority.objects.update(is_active=False)
    assert [role for role, _ in found(end - DAY)] == [Role.LOCAL_CA, Role.LOCAL_REVOCATION_LIST]
    assert [role for role, _ in found(end + DAY)] == [Role.LOCAL_CA]
    CertificateAuthority.objects.update(retired_at=end)
    assert found(end - DAY) == []


def test_wanted_and_in_order() -> None:
    """By role, by days left, by words; the first end first."""
    root = User.objects.create_superuser("root")
    seen(full_host("orders"), shown("orders.internal", NOW - DAY))
    full_host("shop")

    def wanted(**values: Any) -> list[tuple[str, str]]:
        wanted = ExpiryFilter(**values)
        return [(one.owner, one.role) for one in timeline(user=root, wanted=wanted, now=NOW)]

    everything = timeline(user=root, wanted=ExpiryFilter(), now=NOW)
    assert [one.not_after for one in everything] == sorted(one.not_after for one in everything)
    assert len(everything) == 15
    assert wanted(within_days=0) == [("orders", "upstream")]
    assert wanted(within_days=7, role="revocation_list") == [("orders", "revocation_list"), ("shop", "revocation_list")]
    assert wanted(search="ORDERS cn=client") == [("orders", "client")]
    assert wanted(search="10.0.0.7:9443") == [("orders", "upstream")]
    assert wanted(search=CLIENT.certificate.subject.rfc4514_string() + " nobody") == []


def test_nobody_sees_what_he_may_not_view() -> None:
    """Of hosts, of the CA and of what it issued each has its permission."""
    ensure_authority()
    issue_client_certificate(common_name="partner")
    full_host()
    user = User.objects.create_user("somebody")
    seen_roles = []
    for codename in ("view_host", "view_certificateauthority", "view_issuedcertificate"):
        user.user_permissions.set([Permission.objects.get(codename=codename)])
        fresh = User.objects.get(pk=user.pk)
        seen_roles.append({one.role for one in timeline(user=fresh, wanted=ExpiryFilter(), now=NOW)})
    assert Role.CLIENT in seen_roles[0]
    assert seen_roles[1:] == [{Role.LOCAL_CA, Role.LOCAL_REVOCATION_LIST}, {Role.ISSUED}]
    assert not seen_roles[0] & (seen_roles[1] | seen_roles[2])


def test_five_queries(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    """For any number of hosts."""
    ensure_authority()
    for name in ("a", "b", "c"):
        seen(full_host(name), shown(name, NOW))
    with django_assert_num_queries(5):
        assert len(list(expiring(now=NOW))) == 26


def test_a_list_that_was_given_ends_too() -> None:
    """Of a CA whose key is elsewhere, in words of its own: nobody here makes the next one."""
    authority = imported(ISSUING, POLICY, ROOT)
    give_list(authority=authority.root, crl=pem_of(their_list(ROOT)), user=None)
    (found,) = of_role(Role.GIVEN_REVOCATION_LIST, now=THEIR_NOW)
    assert (found.owner, found.pk, found.not_after) == (str(authority.root), authority.root.pk, THEIR_NOW + 30 * DAY)
    assert "Get the next one from whoever has the CA's key" in ABOUT[found.role].fix
