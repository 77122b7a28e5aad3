"""Hosts become those of a document, all of them or none."""

import copy
import json
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aegis_site.kernel.audit.models import AuditEntry
from hosts.exchange.documents import HIDDEN
from hosts.exchange.importing import ImportOptions, OnMissing, Outcome, import_hosts
from hosts.exchange.reading import Format, read_document, write_document
from hosts.exchange.sealing import PassphraseSealer
from hosts.models import CompiledHost, Domain, Host, Upstream
from hosts.specs import HeaderRuleSpec, UpstreamSpec
from tests.hosts.examples import LEAF, OTHER_LEAF, SITE, make_host, mtls
from tests.hosts.exchange.examples import PASSPHRASE, TOKEN, entry, exported, imported, make_secretive_host

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def sealer() -> PassphraseSealer:
    return PassphraseSealer.for_export(PASSPHRASE)


def outcomes(result: Any) -> dict[str, str]:
    return {host.name: host.outcome.value for host in result.hosts}


def refusal(entries: list[dict[str, Any]], **options: Any) -> dict[str, str]:
    """Field and code of each error."""
    with pytest.raises(ValidationError) as caught:
        imported(entries, **options)
    return {name: problems[0].code or "" for name, problems in caught.value.error_dict.items()}


# Out and in again


def test_secrets_come_back(sealer: PassphraseSealer) -> None:
    """Into an empty installation: the same document, and the same keys."""
    make_secretive_host()
    make_host("shop", domains=("b.example.com", "a.example.com"), enabled=False)
    before, sealed = exported(), exported(sealer=sealer)
    Host.objects.all().delete()
    result = imported(sealed["hosts"], sealer=sealer)
    assert outcomes(result) == {"orders": "created", "shop": "created"}
    assert exported() == before
    host = Host.objects.get(name="orders")
    assert host.upstream_tls.client_key.reveal().decode() == LEAF.key_pem
    assert host.downstream_tls.key.reveal().decode() == SITE.key_pem
    assert json.loads(host.traffic.header_secrets.reveal()) == {host.traffic.request_headers[0]["secret"]: TOKEN}


NAMES = st.lists(st.from_regex(r"[a-z]{1,8}", fullmatch=True), unique=True, min_size=1, max_size=4)
HOSTS = st.fixed_dictionaries(
    {
        "enabled": st.booleans(),
        "load_balancing": st.sampled_from(["round_robin", "ip_hash"]),
        "upstreams": st.lists(
            st.builds(
                UpstreamSpec,
                address=st.sampled_from(["10.0.0.7", "backend.internal", "2001:db8::7"]),
                port=st.integers(1, 65535),
                scheme=st.sampled_from(["http", "https"]),
                weight=st.integers(1, 1000),
                drain=st.booleans(),
            ),
            max_size=3,
        ).map(tuple),
        "timeouts": st.fixed_dictionaries({"connect_s": st.floats(0.1, 300)}),
        "response_headers": st.lists(
            st.builds(
                HeaderRuleSpec,
                action=st.just("add"),
                name=st.just("X-Note"),
                value=st.from_regex(r"[!-~]([ -~]{0,20}[!-~])?", fullmatch=True),
            ),
            max_size=2,
        ).map(tuple),
    }
)


@pytest.mark.parametrize("form", Format)
@given(names=NAMES, data=st.data())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_round_trip_is_exact(form: Format, names: list[str], data: st.DataObject) -> None:
    """Whatever the hosts are: out as text, into an empty database, and the text is the same byte for byte."""
    Host.objects.all().delete()
    for name in names:
        make_host(name, **data.draw(HOSTS))
    text = write_document(exported(), form)
    Host.objects.all().delete()
    imported(read_document(text.encode(), form)["hosts"])
    assert write_document(exported(), form) == text


def test_the_same_again_changes_nothing(admin_user: User, sealer: PassphraseSealer) -> None:
    """No version, no history; whether secrets are left out, sealed, or the entry is written another way."""
    host = make_secretive_host()
    AuditEntry.objects.all().delete()
    shouted = {**exported()["hosts"][0], "name": " orders ", "domains": ["ORDERS.example.com."]}
    for entries in (exported()["hosts"], exported(sealer=sealer)["hosts"], [shouted]):
        assert outcomes(imported(entries, sealer=sealer, user=admin_user)) == {"orders": "unchanged"}
    assert Host.objects.get().updated_at == host.updated_at
    assert not AuditEntry.objects.exists()


def test_sealed_secrets_that_are_the_same_are_not_written(sealer: PassphraseSealer) -> None:
    """An entry that is what is stored costs no query, however it was sealed; with another secret it is a change."""
    make_secretive_host()
    make_host("shop", upstream_tls=mtls(client_certificate=OTHER_LEAF.chain_pem, client_key=OTHER_LEAF.key_pem))
    document = exported(sealer=sealer)

    def writes(entries: list[dict[str, Any]]) -> tuple[dict[str, str], bool]:
        with CaptureQueriesContext(connection) as captured:
            result = imported(entries, sealer=sealer)
        return outcomes(result), any(found["sql"].startswith(("UPDATE", "INSERT")) for found in captured)

    assert writes(document["hosts"]) == ({"orders": "unchanged", "shop": "unchanged"}, False)
    orders = copy.deepcopy(document["hosts"][0])
    rule = orders["request_headers"][0]
    rule["value_sealed"] = sealer.seal("Bearer other", host_id=orders["id"], place="request_headers.authorization")
    assert writes([orders]) == ({"orders": "changed"}, True)


def test_the_audit_log_knows_what_hosts_were_before(admin_user: User) -> None:
    """Two hosts change names and domains: each has one entry, from its old ones to its new ones, and the import one."""
    make_host("a", domains=("a.example.com",))
    make_host("b", domains=("b.example.com",))
    AuditEntry.objects.all().delete()
    one, other = exported()["hosts"]
    one["name"], other["name"] = other["name"], one["name"]
    one["domains"], other["domains"] = other["domains"], one["domains"]
    imported([one, other], user=admin_user)
    changes = [[tuple(change.values()) for change in entry.changes] for entry in AuditEntry.objects.order_by("pk")]
    assert changes == [
        [("name", "a", "b"), ("domains[0]", "a.example.com", "b.example.com")],
        [("name", "b", "a"), ("domains[0]", "b.example.com", "a.example.com")],
        [("changed", None, 2)],
    ]


def test_a_trial_leaves_nothing_in_the_audit_log() -> None:
    """It did not happen."""
    make_host()
    AuditEntry.objects.all().delete()
    document = exported()["hosts"][0] | {"enabled": False}
    imported([document, entry("new")], is_dry_run=True)
    assert not AuditEntry.objects.exists()


def test_what_is_left_out_is_kept() -> None:
    """Keys and header values of the same host and rule, beside what changes."""
    make_secretive_host()
    document = exported()["hosts"][0]
    document["enabled"] = False
    result = imported([document])
    assert result.hosts[0].changes == [{"field": "enabled", "before": True, "after": False}]
    host = Host.objects.get()
    assert host.upstream_tls.client_key.reveal().decode() == LEAF.key_pem
    assert json.loads(host.traffic.header_secrets.reveal()) == {host.traffic.request_headers[0]["secret"]: TOKEN}


def test_a_key_is_cleared_by_saying_that_there_is_none() -> None:
    """As in the export of a host without one."""
    make_host(upstream_tls=mtls(enabled=False))
    document = exported()["hosts"][0]
    document["upstream_tls"] |= {"client_certificate": "", "client_key_set": False}
    imported([document])
    assert Host.objects.get().upstream_tls.client_key is None


def test_secrets_that_cannot_be_kept() -> None:
    """Each is named: nothing becomes empty in silence."""
    make_secretive_host()
    document = exported()["hosts"][0]
    Host.objects.all().delete()
    assert refusal([entry("shop"), document]) == dict.fromkeys(
        (
            "hosts[1].upstream_tls.client_key",
            "hosts[1].downstream_tls.key",
            "hosts[1].request_headers[0].value",
        ),
        "secret_left_out",
    )
    assert not Host.objects.exists()


def test_sealed_secrets_need_their_passphrase_and_their_place(sealer: PassphraseSealer) -> None:
    """One that was moved to another host does not open there."""
    make_secretive_host()
    document = exported(sealer=sealer)["hosts"][0]
    assert refusal([document]) == dict.fromkeys(
        (
            "hosts[0].upstream_tls.client_key",
            "hosts[0].downstream_tls.key",
            "hosts[0].request_headers[0].value",
        ),
        "passphrase_required",
    )
    moved = {**document, "id": str(uuid.uuid4())}
    assert set(refusal([moved], sealer=sealer).values()) == {"sealed_value_unreadable"}


# What is shown


def test_changed_secrets_are_masked(sealer: PassphraseSealer) -> None:
    """That they changed is all that is said."""
    make_secretive_host()
    document = exported(sealer=sealer)["hosts"][0]
    document["upstream_tls"] |= {"client_certificate": OTHER_LEAF.chain_pem, "client_key": OTHER_LEAF.key_pem}
    document["request_headers"][0] = {"action": "set", "name": "Authorization", "value": "Bearer another-canary"}
    result = imported([document], sealer=sealer, is_dry_run=True)
    fields = {change["field"]: (change["before"], change["after"]) for change in result.hosts[0].changes}
    assert fields.pop("upstream_tls.client_certificate") == (LEAF.chain_pem, OTHER_LEAF.chain_pem)
    assert fields == {
        "upstream_tls.client_key": (HIDDEN, HIDDEN),
        "request_headers[0].value": (HIDDEN, HIDDEN),
    }
    assert "canary" not in json.dumps(result.hosts[0].changes)


def test_a_trial_run_knows_everything_and_does_nothing() -> None:
    """Created, changed, unchanged, deleted and failed hosts in one answer."""
    for name in ("same", "other", "gone"):
        make_host(name)
    before = exported()
    same, other = (next(host for host in before["hosts"] if host["name"] == name) for name in ("same", "other"))
    bad = entry("bad", upstreams=[{"address": "10.0.0.7", "port": 0}], domains=["same.example.com"])
    result = imported(
        [same, {**other, "enabled": False}, entry("new"), bad], is_dry_run=True, on_missing=OnMissing.DELETE
    )
    assert outcomes(result) == {
        "same": "unchanged",
        "other": "changed",
        "new": "created",
        "bad": "failed",
        "gone": "deleted",
    }
    assert {error["field"]: error["code"] for error in result.hosts[3].errors} == {
        "hosts[3].upstreams[0].port": "min_value",
        "hosts[3].domains": "unique",
    }
    assert (result.is_dry_run, result.count(Outcome.CREATED)) == (True, 1)
    assert exported() == before


# All or nothing


def test_one_error_and_nothing_is_changed(django_capture_on_commit_callbacks: Any) -> None:
    """All errors of all hosts are told, and nothing is published."""
    make_host()
    before = exported()
    changed = {**before["hosts"][0], "enabled": False}
    entries = [changed, entry("a", domains=[]), entry("b", colour="red"), entry("c", upstreams=[{"address": "/"}])]
    with django_capture_on_commit_callbacks() as callbacks:
        assert refusal(entries) == {
            "hosts[1].domains": "required",
            "hosts[2].colour": "unknown_field",
            "hosts[3].upstreams[0].address": "invalid",
        }
    assert exported() == before
    assert callbacks == []


def test_an_import_that_is_given_up_changes_nothing() -> None:
    """A client that goes away in the middle leaves everything as it was."""
    running = import_hosts([entry("a"), entry("b")], sealer=None, options=ImportOptions(), user=None)
    assert next(running) == 1
    running.close()
    assert not Host.objects.exists()


def test_one_publication(django_capture_on_commit_callbacks: Any) -> None:
    """For all hosts together, those that are deleted included."""
    make_host("gone")
    with django_capture_on_commit_callbacks(execute=True):
        make_host("going")
    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        imported([entry("a"), entry("b")], on_missing=OnMissing.DELETE, delete_count=2)
    assert len(callbacks) == 1
    rows = {row.name: row.is_tombstone for row in CompiledHost.objects.all()}
    assert rows == {"going": True, "a": False, "b": False}


# Names and domains that move


def test_domains_and_names_change_places() -> None:
    """Two hosts swap both, which no order of single changes could do; certificates and ids stay where they are."""
    first, second = make_host("a", upstream_tls=mtls()), make_host("b")
    one, two = exported()["hosts"]
    one["name"], two["name"] = two["name"], one["name"]
    one["domains"], two["domains"] = two["domains"], one["domains"]
    result = imported([one, two])
    assert outcomes(result) == {"b": "changed", "a": "changed"}
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.name, [domain.name for domain in first.domains.all()]) == ("b", ["b.example.com"])
    assert (second.name, [domain.name for domain in second.domains.all()]) == ("a", ["a.example.com"])
    assert first.upstream_tls.has_client_key
    assert [change["field"] for change in result.hosts[0].changes] == ["name", "domains[0]"]


def test_a_domain_moves_to_a_new_host_that_comes_first() -> None:
    """And back again from one that is deleted."""
    make_host("a", domains=("a.example.com", "x.example.com"))
    document = exported()["hosts"][0]
    imported([entry("new", domains=["x.example.com"]), {**document, "domains": ["a.example.com"]}])
    assert Domain.objects.get(name="x.example.com").host.name == "new"
    imported([document], on_missing=OnMissing.DELETE, delete_count=1)
    assert Domain.objects.get(name="x.example.com").host.name == "a"


def test_a_domain_in_two_entries() -> None:
    """Belongs to one of them."""
    assert refusal([entry("a"), entry("b", domains=["a.example.com"])]) == {"hosts[1].domains": "unique"}


def test_a_domain_of_a_host_outside_the_document() -> None:
    """Stays there, as does its name."""
    make_host("a")
    assert refusal([entry("b", domains=["a.example.com"])]) == {"hosts[0].domains": "unique"}


# Ids


def test_a_host_found_by_name_keeps_its_ids() -> None:
    """What was exported elsewhere does not bring its ids to a host that is already here."""
    host = make_host()
    upstream = host.upstreams.get()
    document = copy.deepcopy(exported()["hosts"][0])
    document["id"] = str(uuid.uuid4())
    document["upstreams"][0]["id"] = str(uuid.uuid4())
    assert outcomes(imported([document])) == {"orders": "unchanged"}
    assert Upstream.objects.get() == upstream


def test_the_id_of_an_upstream_that_another_host_has() -> None:
    """Is not taken from it: the new one gets its own."""
    upstream = make_host("a").upstreams.get()
    imported([entry("b", id=str(uuid.uuid4()), upstreams=[{"id": str(upstream.pk), "address": "10.0.0.9"}])])
    assert Upstream.objects.get(pk=upstream.pk).host.name == "a"
    assert Upstream.objects.filter(host__name="b").count() == 1


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"id": "x"}, {"hosts[0].id": "invalid"}),
        ({"name": []}, {"hosts[0].name": "invalid"}),
        ({"domains": {"a": 1}}, {"hosts[0].domains": "not_a_list"}),
        ({"upstreams": {}}, {"hosts[0].upstreams": "not_a_list"}),
        ({"upstream_tls": []}, {"hosts[0].upstream_tls": "invalid"}),
        ({"request_headers": [7]}, {"hosts[0].request_headers[0]": "invalid"}),
        ({"upstream_tls": {"client_key_sealed": 7}}, {"hosts[0].upstream_tls.client_key": "passphrase_required"}),
    ],
)
def test_other_shapes(wrong: dict[str, Any], expected: dict[str, str]) -> None:
    """Are errors at their place."""
    assert refusal([{**entry(), **wrong}]) == expected


def test_a_name_that_yaml_takes_for_a_number() -> None:
    """Is refused with the way out, for 007 would become another name; in quotes it is a text."""
    document = read_document(
        b"- name: 007\n  domains: [a.example]\n- name: '007'\n  domains: [b.example]\n", Format.YAML
    )
    assert refusal(document) == {"hosts[0].name": "invalid"}
    with pytest.raises(ValidationError, match="needs quotes"):
        imported(document)
    assert outcomes(imported(document[1:])) == {"007": "created"}


# What is deleted, and who may issue


def test_deleting_is_asked_for_with_the_right_number() -> None:
    """An empty or old document deletes nothing by accident."""
    make_host("a")
    make_host("b")
    for count in (None, 1, 3):
        assert refusal([], on_missing=OnMissing.DELETE, delete_count=count) == {"delete_count": "delete_count"}
    assert outcomes(imported([])) == {}
    result = imported([], on_missing=OnMissing.DELETE, delete_count=2)
    assert outcomes(result) == {"a": "deleted", "b": "deleted"}
    assert not Host.objects.exists()


def test_issuing_needs_the_right_to() -> None:
    """As in a single change."""
    assert refusal([entry(downstream_tls={"issue": True})]) == {"hosts[0].downstream_tls.issue": "permission_denied"}


def noted() -> list[tuple[str, str, list[str]]]:
    """What the audit log says of an import: action, target and fields, oldest first."""
    return [
        (entry.action, entry.target_name, [change["field"] for change in entry.changes])
        for entry in AuditEntry.objects.filter(user_name="admin").order_by("pk")
    ]


def test_the_audit_log_of_an_import(admin_user: User) -> None:
    """One entry for each host that became another, and one that there was an import, with its numbers."""
    for name in ("a", "b", "c", "same"):
        make_host(name, domains=(f"{name}.example.com",))
    kept = {host["name"]: host for host in exported()["hosts"]}
    # Names and domains go round: before, `a` was called so, although another one has the name in between.
    kept["a"] |= {"name": "b", "domains": ["b.example.com"]}
    kept["b"] |= {"name": "a", "domains": ["a.example.com"]}
    entries = [kept["a"], kept["b"], kept["same"], entry("new")]
    imported(entries, user=admin_user, is_dry_run=True, on_missing=OnMissing.DELETE)
    assert noted() == []
    imported(entries, user=admin_user, on_missing=OnMissing.DELETE, delete_count=1)
    found = {name: (action, fields) for action, name, fields in noted()}
    assert set(found) == {"a", "b", "c", "new", "1 created, 2 changed, 1 deleted"}
    assert found["a"] == found["b"] == ("changed", ["name", "domains[0]"])
    assert (found["c"][0], found["new"][0]) == ("deleted", "created")
    assert noted()[-1] == ("imported", "1 created, 2 changed, 1 deleted", ["created", "changed", "deleted"])
    renamed = AuditEntry.objects.get(target_name="a", action="changed").changes[0]
    assert (renamed["before"], renamed["after"]) == ("b", "a")


def test_a_refused_import_is_not_in_the_audit_log(admin_user: User) -> None:
    """Nothing has happened."""
    assert refusal([entry("a"), entry("b", domains=[])], user=admin_user)
    assert noted() == []


def test_queries_for_each_host() -> None:
    """A bounded number for each, so that a thousand take seconds."""

    def queries(*names: str) -> int:
        entries = [
            entry(
                name, upstream_tls={"enabled": True, "client_certificate": LEAF.chain_pem, "client_key": LEAF.key_pem}
            )
            for name in names
        ]
        with CaptureQueriesContext(connection) as captured:
            imported(entries)
        return len(captured)

    queries("warm")
    # Eleven, and the audit entry.
    assert (queries("a", "b", "c") - queries("d")) / 2 <= 16
