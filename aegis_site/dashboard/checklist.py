"""The first steps of a new installation: which there are, what is done, and that nobody wants to see them any more.

Laws of this module:
- A step is done when the installation shows it, whoever did it and by which way; nobody ticks anything off.
- The list is there for the first NEW_FOR of an installation, and until somebody puts it away. That is an entry of the
  audit log, which are kept for at least as long: so it never comes back (docs/adr/0045).
"""

import datetime
from collections.abc import Iterator
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Min
from django.urls import reverse

from aegis_site.kernel.audit.actor import Actor
from aegis_site.kernel.audit.models import AuditEntry
from aegis_site.kernel.audit.recording import USER_TYPE
from aegis_site.kernel.audit.services import record
from aegis_site.kernel.notifications.models import Channel
from aegis_site.kernel.site_settings.models import RETENTION_DAYS
from hosts.models import ConnectionTest, ConnectionTestState, Host
from upstream_tls.models import UpstreamTLSConfiguration

NEW_FOR = datetime.timedelta(days=RETENTION_DAYS.low)
# Whoever may do most of the steps sees them, and may put them away.
PERMISSION = "hosts.add_host"
PUT_AWAY = "first_steps_put_away"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step, and where it is done."""

    title: str
    text: str
    url: str
    is_done: bool


def first_steps(user: User, *, now: datetime.datetime) -> list[Step]:
    """What this user is shown of them: nothing when all is done, or when they are put away or old. Seven queries."""
    if not user.has_perm(PERMISSION) or _is_old(now) or AuditEntry.objects.filter(action=PUT_AWAY).exists():
        return []
    steps = list(_steps(user))
    return [] if all(step.is_done for step in steps) else steps


def put_away(*, user: Actor) -> None:
    """Nobody is shown the first steps any more."""
    record(user=user, action=PUT_AWAY, target_type="settings", target_id="", target_name="First steps")


def _is_old(now: datetime.datetime) -> bool:
    """By the first migration of its database, which is copied with it."""
    applied = MigrationRecorder.Migration.objects.aggregate(first=Min("applied"))["first"]
    return applied is None or applied < now - NEW_FOR


def _steps(user: User) -> Iterator[Step]:
    host_id = Host.objects.order_by("created_at").values_list("pk", flat=True).first()
    presenting = UpstreamTLSConfiguration.objects.filter(enabled=True).order_by("host__created_at")
    mtls_id = presenting.values_list("host_id", flat=True).first()
    new_host = reverse("admin:hosts_host_add")
    yield Step(
        title="Choose a password of your own",
        text="The first one was generated, and stood on a terminal.",
        url=reverse("admin:password_change"),
        is_done=_has_own_password(user),
    )
    yield Step(
        title="Add a host",
        text="The names it answers for, and the upstreams behind it.",
        url=new_host,
        is_done=host_id is not None,
    )
    yield Step(
        title="Give it a client certificate",
        text="Issued by the local CA, uploaded, or signed by another CA for a request.",
        url=reverse("admin:hosts_host_client_certificate", args=[host_id]) if host_id else new_host,
        is_done=mtls_id is not None,
    )
    tested = ConnectionTest.objects.filter(state=ConnectionTestState.DONE, success=True, is_of_saved_host=True)
    yield Step(
        title="Have the upstream trust it",
        text="The page has the CA and a snippet for the upstream's server. Done when a test shows that it took it.",
        url=reverse("admin:hosts_host_upstream_setup", args=[mtls_id]) if mtls_id else new_host,
        is_done=tested.filter(result__tls__client_certificate_sent=True).exists(),
    )
    yield Step(
        title="Test the connection",
        text="The button in the host's editor says what works, or why not and what to do.",
        url=reverse("admin:hosts_host_change", args=[host_id]) + "#connection-test" if host_id else new_host,
        is_done=tested.exists(),
    )
    if user.has_perm("notifications.add_channel"):
        yield Step(
            title="Say who is told when something breaks",
            text="By mail, webhook, Slack, Discord, Teams or ntfy.",
            url=reverse("admin:notifications_channel_add"),
            is_done=Channel.objects.filter(enabled=True).exists(),
        )


def _has_own_password(user: User) -> bool:
    changed = AuditEntry.objects.filter(target_type=USER_TYPE, target_id=str(user.pk), action="changed")
    return any(
        change["field"] == "password" for changes in changed.values_list("changes", flat=True) for change in changes
    )
