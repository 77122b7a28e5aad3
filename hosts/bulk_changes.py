"""Changes of many hosts at once.

Laws of this module: one transaction, a number of statements that does not depend on the number of hosts, and an entry
in the audit log for each host that was changed. Hosts that are so already, or are gone, are left alone.
"""

import uuid
from collections.abc import Collection, Iterable

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from aegis_site.kernel.audit.actor import Actor
from aegis_site.kernel.audit.recording import changing
from hosts.audit import HOSTS
from hosts.models import Host
from hosts.publish import publish_on_commit
from hosts.validators import clean_tags

_ROWS_PER_UPDATE = 500


@transaction.atomic
def set_enabled(*, host_ids: Collection[uuid.UUID], enabled: bool, user: Actor | None) -> int:
    """Serve these hosts, or stop serving them. How many were changed."""
    found = Host.objects.select_for_update().filter(pk__in=host_ids).exclude(enabled=enabled)
    changed = list(found.values_list("pk", flat=True))
    with changing(HOSTS, changed, user=user):
        Host.objects.filter(pk__in=changed).update(enabled=enabled, updated_at=timezone.now())
    publish_on_commit(changed)
    return len(changed)


@transaction.atomic
def change_tags(
    *, host_ids: Collection[uuid.UUID], add: Iterable[str] = (), remove: Iterable[str] = (), user: Actor | None
) -> int:
    """Add tags to these hosts and remove others. How many were changed. Raises ValidationError, and changes none."""
    added, removed = set(clean_tags(add)), set(clean_tags(remove))
    changed = []
    for host in Host.objects.select_for_update().filter(pk__in=host_ids):
        try:
            tags = clean_tags((set(host.tags) | added) - removed)
        except ValidationError as error:
            raise ValidationError([f"{host.name}: {text}" for text in error.messages], code="max_length") from error
        if tags != host.tags:
            host.tags, host.updated_at = tags, timezone.now()
            changed.append(host)
    identifiers = [host.pk for host in changed]
    with changing(HOSTS, identifiers, user=user):
        Host.objects.bulk_update(changed, ["tags", "updated_at"], batch_size=_ROWS_PER_UPDATE)
    publish_on_commit(identifiers)
    return len(changed)
