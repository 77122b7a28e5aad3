"""The ids of things that requests ask for: those of the world in which they begin, or new ones when those are gone."""

import uuid

from aegis_site.kernel.audit.models import AuditEntry
from aegis_site.kernel.notifications.models import Channel, Delivery, DeliveryState, MaintenanceWindow
from aegis_site.kernel.notifications.services import save_window
from healthchecks.failures.models import FailureGroup
from hosts.certificate_requests import request_certificate
from hosts.rotation.models import Rotation, RotationState
from hosts.rotation.services import stage
from hosts.services import update_host
from hosts.specs import HostSpec
from localca.services import ensure_authority, issue_client_certificate
from tests.aegis_site.kernel.notifications.examples import NOW, at, channel, noted
from tests.healthchecks.failures.examples import failed
from tests.hosts.examples import CA
from tests.support.valid_documents import first_host
from upstream_tls.certificate_requests import Wish
from upstream_tls.changes import UpstreamTLSChanges


def new_certificate_id() -> uuid.UUID:
    """A new one each time: what was renewed or revoked is neither again."""
    return issue_client_certificate(common_name="orders").record.pk


def authority_id() -> uuid.UUID:
    return ensure_authority().pk


def certificate_request_id() -> uuid.UUID:
    """Of the first host."""
    host = first_host()
    waiting = host.certificate_requests.first() or request_certificate(
        host=host, wish=Wish(common_name="orders"), user=None
    )
    return waiting.pk


def rotation_id() -> uuid.UUID:
    """One that was refused: it can be probed, promoted and cancelled."""
    rotation = Rotation.objects.filter(state=RotationState.REFUSED).first()
    if rotation is None:
        Rotation.objects.all().delete()
        leaf = CA.client("next")  # another one each time: what was promoted is in use
        pair = UpstreamTLSChanges(client_certificate=leaf.chain_pem, client_key=leaf.key_pem)
        rotation = stage(host=first_host(), pair=pair, user=None)
        Rotation.objects.update(state=RotationState.REFUSED, due_at=None)
    return rotation.pk


def failure_id() -> int:
    group = FailureGroup.objects.first() or failed(first_host())
    return group.pk


def changed_host_entry_id() -> int:
    """Of a change that can be reverted."""
    host = first_host()
    entries = AuditEntry.objects.filter(target_type="host", target_id=host.pk, action="changed")
    if not entries.exists():
        update_host(host=host, spec=HostSpec(websockets=not host.websockets), user=None)
    return entries.values_list("pk", flat=True)[0]


def channel_id() -> uuid.UUID:
    found = Channel.objects.order_by("pk").first() or channel(name="ops")
    return found.pk


def failed_delivery_id() -> uuid.UUID:
    """One that can be sent again."""
    found = Delivery.objects.filter(state=DeliveryState.FAILED).first()
    if found is None:
        found = Delivery.objects.create(
            channel_id=channel_id(),
            group="host:1",
            state=DeliveryState.FAILED,
            attempts=3,
            due_at=NOW,
            first_attempt_at=NOW,
            finished_at=at(days=1),
            status=503,
            last_error="The receiver answers 503.",
        )
        event = noted()
        event.save()
        found.events.add(event)
    return found.pk


def window_id() -> uuid.UUID:
    found = MaintenanceWindow.objects.first()
    if found is None:
        values = {"name": "move", "begins_at": NOW, "ends_at": at(hours=1), "hosts": [first_host()]}
        found = save_window(window=MaintenanceWindow(), values=values, user=None)
    return found.pk
