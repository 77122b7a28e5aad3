"""The steps that a rotation takes by itself, before a real nginx whose trust changes."""

import datetime
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from aegis_site.kernel.audit.models import AuditEntry
from aegis_site.kernel.notifications.models import NotedEvent
from hosts.models import CompiledHost, Host, ProxyWorker, UpstreamFailure
from hosts.publish import publish
from hosts.rotation import running
from hosts.rotation.models import Rotation, RotationSource, RotationState
from hosts.rotation.running import advance, due_rotations
from hosts.rotation.services import cancel, probe_again, promote_refused, stage
from hosts.services import update_host
from hosts.specs import HostSpec, UpstreamSpec
from hosts.tasks import sweep_rotations
from localca.models import IssuedCertificate
from localca.services import issue_client_certificate
from tests.hosts.rotation.examples import (
    NEW,
    NEW_CA,
    OLD,
    OLD_CA,
    after_the_watch,
    again,
    host_before,
    in_use,
    next_step,
    nginx_trusting,
    pair,
    pem_of,
    plain_host,
    staged,
)
from tests.support.certificates import Authority
from tests.support.nginx import Nginx
from upstream_tls.changes import UpstreamTLSChanges
from upstream_tls.models import UpstreamTLSConfiguration

pytestmark = pytest.mark.django_db

OLD_NAME, NEW_NAME = "CN=old identity", "CN=new identity"
SECOND = datetime.timedelta(seconds=1)
HOUR = datetime.timedelta(hours=1)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Nginx, Nginx]]:
    one, two = (nginx_trusting(tmp_path_factory.mktemp("nginx"), OLD_CA, NEW_CA) for _ in range(2))
    with one, two:
        yield one, two


@pytest.fixture
def nginx(servers: tuple[Nginx, Nginx]) -> Nginx:
    """It trusts both, until a test says otherwise."""
    servers[0].trust(pem_of(OLD_CA, NEW_CA))
    return servers[0]


@pytest.fixture
def beside(servers: tuple[Nginx, Nginx]) -> Nginx:
    """Another one, of the same trust."""
    servers[1].trust(pem_of(OLD_CA, NEW_CA))
    return servers[1]


def states(rotation: Rotation) -> list[str]:
    return [step["state"] for step in again(rotation).steps]


def keys_are_gone(rotation: Rotation) -> bool:
    found = again(rotation)
    return found.candidate_key is None and found.previous_key is None


def test_a_candidate_that_is_admitted_is_put_in_use(nginx: Nginx, beside: Nginx) -> None:
    """Every step is in the rotation and in the audit log; the workers get it; the keys are forgotten at the end."""
    host = host_before(nginx, beside)
    rotation = staged(host)
    assert (rotation.state, in_use(host)) == (RotationState.WATCHING, NEW_NAME)
    assert [probe["verdict"] for probe in rotation.probes] == ["admitted", "admitted"]
    assert next_step(rotation).state == RotationState.WATCHING
    assert after_the_watch(rotation).state == RotationState.DRAINING
    assert keys_are_gone(rotation)
    assert next_step(rotation).state == RotationState.DONE
    assert states(rotation) == ["staged", "probing", "ready", "watching", "draining", "done"]
    entries = AuditEntry.objects.filter(target_type="rotation", target_id=str(rotation.pk)).order_by("pk")
    assert [entry.action for entry in entries] == [f"rotation_{state}" for state in states(rotation)]
    assert AuditEntry.objects.filter(action="certificate_rotated", target_id=str(host.pk)).count() == 1
    assert NotedEvent.objects.get(kind="rotation").title == "The client certificate of orders was rotated"
    assert "PRIVATE KEY" not in str(list(AuditEntry.objects.values()))


def test_one_upstream_that_refuses_is_enough(nginx: Nginx, beside: Nginx) -> None:
    """Nothing is put in use; it is told which upstream refuses, and why."""
    host = host_before(nginx, beside)
    beside.trust(OLD_CA.pem)
    rotation = staged(host)
    assert (rotation.state, in_use(host)) == (RotationState.REFUSED, OLD_NAME)
    assert [probe["verdict"] for probe in rotation.probes] == ["admitted", "refused"]
    assert rotation.code.startswith("client_certificate_")
    assert str(beside.port) in rotation.message
    assert rotation.waits_for_person
    assert due_rotations(now=timezone.now() + 24 * HOUR) == []
    assert "refused by an upstream" in NotedEvent.objects.get(kind="rotation_failed").title


def test_an_upstream_that_is_away_is_no_reason_to_go_on(nginx: Nginx) -> None:
    """Where neither gets in nobody knows: refused, and said so."""
    host = host_before(nginx)
    update_host(
        host=host, spec=HostSpec(upstreams=(UpstreamSpec(address="127.0.0.1", port=nginx.port), _closed())), user=None
    )
    rotation = staged(host)
    assert (rotation.state, rotation.code) == (RotationState.REFUSED, "connection_refused")
    assert [probe["verdict"] for probe in rotation.probes] == ["admitted", "failing"]


def test_a_host_without_https_has_nothing_to_probe() -> None:
    """It says so, and goes on; plain and switched off upstreams are not asked."""
    host = plain_host()
    upstreams = (
        UpstreamSpec(scheme="http", address="127.0.0.1", port=9),
        UpstreamSpec(address="127.0.0.1", port=9, enabled=False),
    )
    update_host(host=host, spec=HostSpec(upstreams=upstreams), user=None)
    rotation = staged(host)
    assert (rotation.state, in_use(host)) == (RotationState.WATCHING, NEW_NAME)
    assert rotation.steps[2]["code"] == "nothing_to_probe"
    assert next_step(rotation).state == RotationState.WATCHING


def test_an_identity_that_is_refused_after_all_is_rolled_back(nginx: Nginx) -> None:
    """At the next round, with the cause; the previous key is in use again, and the rotation has none."""
    host = host_before(nginx)
    rotation = staged(host)
    nginx.trust(OLD_CA.pem)
    rotation = next_step(rotation)
    assert (rotation.state, in_use(host)) == (RotationState.ROLLED_BACK, OLD_NAME)
    assert rotation.code.startswith("client_certificate_")
    assert keys_are_gone(rotation)
    configuration = UpstreamTLSConfiguration.objects.get(host=host)
    assert configuration.client_key is not None
    assert configuration.client_key.reveal().decode() == OLD.key_pem
    assert AuditEntry.objects.filter(action="certificate_rolled_back", target_id=str(host.pk)).count() == 1
    event = NotedEvent.objects.get(kind="rotation_failed")
    assert (event.title, event.text) == ("The client certificate of orders was rolled back", rotation.message)
    assert next_step(rotation).state == RotationState.ROLLED_BACK


def test_a_first_certificate_switches_mtls_on(nginx: Nginx) -> None:
    """Without it the upstream admits nobody."""
    host = host_before(nginx)
    changes = UpstreamTLSChanges(enabled=False, client_certificate="", client_key="")
    host = update_host(host=host, spec=HostSpec(upstream_tls=changes), user=None)
    assert staged(host).state == RotationState.WATCHING
    assert in_use(host) == NEW_NAME


def test_where_both_are_refused_the_new_one_stays(nginx: Nginx) -> None:
    """Rolling back would not help; when the upstream takes the old one, it is rolled back."""
    host = host_before(nginx)
    rotation = staged(host)
    nginx.trust(Authority("Somebody else's CA").pem)
    assert next_step(rotation).state == RotationState.WATCHING
    assert in_use(host) == NEW_NAME
    nginx.trust(OLD_CA.pem)
    assert next_step(rotation).state == RotationState.ROLLED_BACK


def test_an_upstream_that_goes_away_rejects_nobody(tmp_path: Path) -> None:
    """A refused connection says nothing about the identity."""
    with nginx_trusting(tmp_path, OLD_CA, NEW_CA) as leaving:
        host = host_before(leaving)
        rotation = staged(host)
    assert next_step(rotation).state == RotationState.WATCHING
    assert in_use(host) == NEW_NAME


def test_what_somebody_else_put_in_use_is_never_overwritten(nginx: Nginx) -> None:
    """Before the promotion and after it: the rotation ends, their certificate stays."""
    host = host_before(nginx)
    theirs = OLD_CA.client("theirs")
    rotation = staged(host, is_manual=True)
    update_host(host=host, spec=HostSpec(upstream_tls=pair(theirs)), user=None)
    Rotation.objects.filter(pk=rotation.pk).update(state="staged", is_manual=False, due_at=timezone.now())
    assert (next_step(rotation).code, in_use(host)) == ("changed_meanwhile", "CN=theirs")
    rotation = staged(host)
    assert in_use(host) == NEW_NAME
    update_host(host=host, spec=HostSpec(upstream_tls=pair(theirs)), user=None)
    nginx.trust(OLD_CA.pem)
    rotation = next_step(rotation)
    assert (rotation.state, rotation.code, in_use(host)) == (RotationState.CANCELLED, "superseded", "CN=theirs")
    assert keys_are_gone(rotation)


def test_a_certificate_that_is_over_is_not_put_back(nginx: Nginx) -> None:
    """It says so, and leaves the new one."""
    host = host_before(nginx)
    bundle = issue_client_certificate(common_name="revoked")
    local = Authority("unused")
    nginx.trust(pem_of(NEW_CA, local) + bundle.record.authority.certificate_pem)
    changes = UpstreamTLSChanges(client_certificate=bundle.chain_pem, client_key=bundle.key_pem.decode())
    host = update_host(host=host, spec=HostSpec(upstream_tls=changes), user=None)
    rotation = staged(host)
    assert rotation.state == RotationState.WATCHING, rotation.message
    IssuedCertificate.objects.update(revoked_at=timezone.now(), revocation_reason="unspecified")
    nginx.trust(bundle.record.authority.certificate_pem)
    rotation = next_step(rotation)
    assert (rotation.state, rotation.code, in_use(host)) == (RotationState.FAILED, "previous_unusable", NEW_NAME)
    assert "revoked" in rotation.message


def test_what_traffic_meets_counts(nginx: Nginx) -> None:
    """Of workers that present the new identity, after they had time to take it up, and of nothing else."""
    host = host_before(nginx)
    rotation = staged(host)
    publish([host.pk])
    upstream = host.upstreams.get()
    worker = ProxyWorker.objects.create(worker_id="one", last_seen_at=timezone.now())
    failure = UpstreamFailure.objects.create(
        upstream=upstream, worker=worker, code="client_certificate_untrusted", at=timezone.now(), count=1, phase="head"
    )
    generation = CompiledHost.objects.get(pk=host.pk).generation
    long_ago = timezone.now() - datetime.timedelta(seconds=30)
    assert next_step(rotation).state == RotationState.WATCHING  # the workers have had no time yet
    Rotation.objects.update(promoted_at=long_ago)
    assert next_step(rotation).state == RotationState.WATCHING  # it presents the old one
    ProxyWorker.objects.update(generation=generation)
    for values in ({"code": "timeout"}, {"at": long_ago}):
        UpstreamFailure.objects.filter(pk=failure.pk).update(**values)
        assert next_step(rotation).state == RotationState.WATCHING
    UpstreamFailure.objects.update(code="client_certificate_untrusted", at=timezone.now())
    rotation = next_step(rotation)
    assert (rotation.state, in_use(host)) == (RotationState.ROLLED_BACK, OLD_NAME)
    assert "met by traffic" in rotation.message


def test_what_refused_it_before_does_not_count_afterwards(nginx: Nginx, beside: Nginx) -> None:
    """Somebody promoted it for a reason."""
    host = host_before(nginx, beside)
    beside.trust(OLD_CA.pem)
    promote_refused(rotation=staged(host), reason="that one is next", user=None)
    rotation = Rotation.objects.get()
    assert next_step(rotation).state == RotationState.WATCHING
    nginx.trust(OLD_CA.pem)
    assert next_step(rotation).state == RotationState.ROLLED_BACK


@pytest.fixture
def hanging() -> Iterator[list[int]]:
    """Ports of upstreams that take a connection and say nothing."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(60)]
        yield [server.getsockname()[1] for server in sockets]


def test_upstreams_that_hang_do_not_delay_a_roll_back(nginx: Nginx, hanging: list[int]) -> None:
    """One of sixty-one refuses: it is tried with the previous identity at once, and the others are not waited for."""
    host = host_before(nginx)
    rotation = staged(host)
    ports = [*hanging, nginx.port]
    specs = tuple(UpstreamSpec(address="127.0.0.1", port=port) for port in ports)
    host = update_host(host=host, spec=HostSpec(upstreams=specs), user=None)
    probes = [{**rotation.probes[0], "upstream": str(upstream.pk)} for upstream in host.upstreams.all()]
    Rotation.objects.update(probes=probes)
    nginx.trust(OLD_CA.pem)
    begun = time.monotonic()
    rotation = next_step(rotation)
    assert (rotation.state, in_use(host)) == (RotationState.ROLLED_BACK, OLD_NAME)
    assert time.monotonic() - begun < running.WATCH_TIMEOUT_S


def test_rounds_begin_every_two_seconds(nginx: Nginx) -> None:
    """However long the one before took; the next is due at once after one that took longer."""
    rotation = staged(host_before(nginx))
    before = timezone.now()
    rotation = next_step(rotation)
    assert rotation.due_at is not None
    assert before + 2 * SECOND <= rotation.due_at <= timezone.now() + 2 * SECOND


def test_an_old_override_is_tried_again(nginx: Nginx, beside: Nginx) -> None:
    """What refused when the reason was given may refuse; what refuses only since ends the override."""
    host = host_before(nginx, beside)
    beside.trust(OLD_CA.pem)
    rotation = staged(host)
    Rotation.objects.update(probed_at=timezone.now() - HOUR)
    rotation = promote_refused(rotation=rotation, reason="that one is next", user=None)
    assert (rotation.state, rotation.code, in_use(host)) == (RotationState.STAGED, "overridden", OLD_NAME)
    nginx.trust(OLD_CA.pem)
    rotation = next_step(rotation)
    assert (rotation.state, rotation.override_reason, in_use(host)) == (RotationState.REFUSED, "", OLD_NAME)
    assert str(nginx.port) in rotation.message
    assert "did not refuse when a reason" in rotation.message
    nginx.trust(pem_of(OLD_CA, NEW_CA))
    rotation = next_step(probe_again(rotation=rotation, user=None))
    assert rotation.state == RotationState.REFUSED  # of the former override nothing is left
    update_host(host=host, spec=HostSpec(websockets=False), user=None)
    rotation = promote_refused(rotation=rotation, reason="that one is next", user=None)
    assert rotation.state == RotationState.STAGED
    rotation = next_step(rotation)
    assert (rotation.state, in_use(host)) == (RotationState.WATCHING, NEW_NAME)
    entry = AuditEntry.objects.filter(action="rotation_watching").get()
    assert {"field": "override_reason", "before": None, "after": "that one is next"} in entry.changes


def test_a_step_is_taken_once() -> None:
    """The second of two finds nothing to do; a step whose process died is taken again when its time is over."""
    rotation = stage(host=plain_host(), pair=pair(NEW), user=None)
    assert running._claim(rotation.pk) is not None
    assert running._claim(rotation.pk) is None
    assert due_rotations(now=timezone.now()) == []
    assert due_rotations(now=timezone.now() + 4 * SECOND) == [rotation.pk]
    Rotation.objects.update(due_at=timezone.now())
    sweep_rotations()
    assert again(rotation).state == RotationState.WATCHING


@pytest.mark.parametrize(("name", "claimed"), [("_time_for", []), ("_probe", ["probing"])])
def test_what_is_cancelled_meanwhile_stays_cancelled(
    monkeypatch: pytest.MonkeyPatch, name: str, claimed: list[str]
) -> None:
    """Between reading, the claim and the step there are moments for others."""
    rotation = stage(host=plain_host(), pair=pair(NEW), user=None)
    real = getattr(running, name)

    def overtaken(*arguments: object) -> object:
        cancel(rotation=again(rotation), user=None)
        return real(*arguments)

    monkeypatch.setattr(running, name, overtaken)
    advance(rotation.pk)
    assert states(rotation) == ["staged", *claimed, "cancelled"]


def test_an_identity_that_is_replaced_at_the_end_of_its_watch(nginx: Nginx, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one was put in use during the last round: it is not said that the candidate stays."""
    host = host_before(nginx)
    rotation = staged(host)
    real = running.refused_in_traffic

    def replaced(watched: Rotation) -> Any:
        monkeypatch.undo()
        update_host(host=host, spec=HostSpec(upstream_tls=pair(OLD)), user=None)
        return real(watched)

    monkeypatch.setattr(running, "refused_in_traffic", replaced)
    rotation = after_the_watch(rotation)
    assert (rotation.state, rotation.code) == (RotationState.CANCELLED, "superseded")
    assert in_use(host) == OLD_NAME


@pytest.mark.parametrize(("upstreams", "probing_s", "watching_s"), [(1, 9.5, 10), (25, 9.5, 10), (100, 29, 10)])
def test_a_step_has_a_deadline(upstreams: int, probing_s: float, watching_s: float) -> None:
    """So long the sweep waits for a process that has died."""
    host = plain_host()
    specs = tuple(UpstreamSpec(address=f"10.0.0.{number}", port=443) for number in range(upstreams))
    update_host(host=host, spec=HostSpec(upstreams=specs), user=None)
    rotation = stage(host=host, pair=pair(NEW), user=None)
    for state, seconds in (("probing", probing_s), ("watching", watching_s), ("draining", 3)):
        assert running._time_for(rotation.pk, state) == seconds * SECOND
        assert seconds * SECOND < running.LONGEST_STEP


def test_a_step_that_was_overtaken_changes_nothing(nginx: Nginx, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes back after its claim was given to another one."""
    host = host_before(nginx)
    rotation = stage(host=host, pair=pair(NEW), user=None)
    real = running.probing.run

    def slow(*arguments: object, **values: object) -> object:
        Rotation.objects.update(due_at=timezone.now() + HOUR)
        return real(*arguments, **values)  # type: ignore[arg-type]

    monkeypatch.setattr(running.probing, "run", slow)
    advance(rotation.pk)
    assert (again(rotation).state, in_use(host)) == (RotationState.PROBING, OLD_NAME)


def test_a_host_that_changes_while_it_is_probed(nginx: Nginx, beside: Nginx, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is probed again, for it may have another upstream that refuses the candidate."""
    host = host_before(nginx)
    beside.trust(OLD_CA.pem)
    rotation = stage(host=host, pair=pair(NEW), user=None)
    real = running.probing.run

    def meanwhile(*arguments: object, **values: object) -> object:
        both = tuple(UpstreamSpec(address="127.0.0.1", port=server.port) for server in (nginx, beside))
        update_host(host=host, spec=HostSpec(upstreams=both), user=None)
        return real(*arguments, **values)  # type: ignore[arg-type]

    monkeypatch.setattr(running.probing, "run", meanwhile)
    rotation = next_step(rotation)
    assert (rotation.state, rotation.code, in_use(host)) == (RotationState.STAGED, "host_changed", OLD_NAME)
    monkeypatch.setattr(running.probing, "run", real)
    assert next_step(rotation).state == RotationState.REFUSED


def test_a_clock_that_was_set_back_stops_nothing(nginx: Nginx) -> None:
    """A step whose end is further away than any step takes is due; a promotion in the future is watched no longer."""
    rotation = staged(host_before(nginx))
    Rotation.objects.update(due_at=timezone.now() + HOUR, promoted_at=timezone.now() + HOUR)
    assert due_rotations(now=timezone.now()) == [rotation.pk]
    advance(rotation.pk)
    assert again(rotation).state == RotationState.DRAINING


def test_a_refused_renewal_is_tried_again_by_itself(nginx: Nginx) -> None:
    """After five minutes, then twice as long; each is audited, but listed and told once."""
    host = host_before(nginx)
    nginx.trust(OLD_CA.pem)
    rotation = next_step(stage(host=host, pair=pair(NEW), source=RotationSource.RENEWED, user=None))
    assert rotation.due_at is not None
    assert rotation.due_at - timezone.now() < datetime.timedelta(minutes=5)
    rotation = next_step(rotation)
    assert rotation.due_at is not None
    assert datetime.timedelta(minutes=9) < rotation.due_at - timezone.now() < datetime.timedelta(minutes=10)
    assert states(rotation) == ["staged", "probing", "refused"]
    assert [step["times"] for step in rotation.steps] == [1, 2, 2]
    audited = AuditEntry.objects.filter(target_id=str(rotation.pk)).order_by("pk").values_list("action", flat=True)
    assert list(audited) == ["rotation_staged", *["rotation_probing", "rotation_refused"] * 2]
    assert NotedEvent.objects.filter(kind="rotation_failed").count() == 1
    nginx.trust(NEW_CA.pem)
    assert (next_step(rotation).state, in_use(host)) == (RotationState.WATCHING, NEW_NAME)


def test_a_key_that_does_not_open_ends_it(nginx: Nginx) -> None:
    """With a clear reason; what is in use stays."""
    host = host_before(nginx)
    rotation = stage(host=host, pair=pair(NEW), user=None)
    with connection.cursor() as cursor:  # sealed for another column
        cursor.execute("UPDATE hosts_rotation SET candidate_key = previous_key")
    advance(rotation.pk)
    found = again(rotation)
    assert (found.state, in_use(host)) == (RotationState.FAILED, OLD_NAME)
    assert found.message


def _closed() -> UpstreamSpec:
    return UpstreamSpec(address="127.0.0.1", port=1)


def test_a_host_that_is_deleted_takes_its_rotations_along() -> None:
    """Nothing is left to go on."""
    host = plain_host()
    rotation = staged(host)
    Host.objects.all().delete()
    advance(rotation.pk)
    assert not Rotation.objects.exists()
