"""Writes many drafts with few statements, after looking whether they are still about what is stored.

Laws of this module:
- Everything here is inside the caller's transaction, and nothing is that could be before it: no validation, no parsing.
- A name or domain that moves from one host to another is taken from the first before the second gets it.
- Somebody else's change is never overwritten: HostsChanged.
"""

import datetime
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import IntegrityError, models

from aegis_site.kernel.errors import AegisError
from hosts.bulk import save_rows
from hosts.drafts import HostDraft
from hosts.models import Domain, Host, Upstream

# Below what any database takes as parameters of one query.
_ROWS_PER_QUERY = 500


class HostsChanged(AegisError):
    """Somebody changed one of the hosts, or took a name or domain, while the document was being checked."""

    def __init__(self) -> None:
        super().__init__(
            "hosts_changed", "Hosts were changed while the document was being checked. Nothing was imported: try again."
        )


def check_versions(read: Mapping[uuid.UUID, datetime.datetime], *, is_everything: bool) -> None:
    """Locks all hosts until the end of the transaction. One query. Raises HostsChanged.

    `read` has the versions on which the drafts are based. `is_everything`: there may be no other host.
    """
    now = dict(Host.objects.select_for_update().values_list("pk", "updated_at"))
    if any(now.get(host_id) != version for host_id, version in read.items()) or (
        is_everything and len(now) > len(read)
    ):
        raise HostsChanged


def write_drafts(drafts: Sequence[HostDraft]) -> None:
    """Saves these hosts with all that belongs to them. Raises HostsChanged."""
    try:
        _make_room(drafts)
        save_rows([draft.host for draft in drafts])
        save_rows([row for draft in drafts for row in draft.domain_rows()])
        of_each: dict[type[models.Model], list[models.Model]] = defaultdict(list)
        for draft in drafts:
            for row in (*(draft.upstreams or ()), *draft.rows):
                of_each[type(row)].append(row)
        for rows in of_each.values():
            save_rows(rows)
    except IntegrityError as error:
        raise HostsChanged from error


def _make_room(drafts: Sequence[HostDraft]) -> None:
    stored = {draft.host.pk: draft for draft in drafts if not draft.host._state.adding}
    names = {host_id: name for part in _parts(list(stored)) for host_id, name in _names(part)}
    for host_id, draft in stored.items():
        if draft.host.name != names.get(host_id):
            # A name that nobody has, until the host gets its own.
            Host.objects.filter(pk=host_id).update(name=uuid.uuid4().hex)
    given_up = [
        pk
        for part in _parts([host_id for host_id, draft in stored.items() if draft.domains is not None])
        for pk, host_id, name in Domain.objects.filter(host_id__in=part).values_list("pk", "host_id", "name")
        if name not in (stored[host_id].domains or ())
    ]
    for part in _parts(given_up):
        Domain.objects.filter(pk__in=part).delete()
    for part in _parts([upstream.pk for draft in drafts for upstream in draft.gone]):
        Upstream.objects.filter(pk__in=part).delete()


def _names(host_ids: Sequence[Any]) -> Iterable[tuple[uuid.UUID, str]]:
    return Host.objects.filter(pk__in=host_ids).values_list("pk", "name")


def _parts(rows: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (rows[start : start + _ROWS_PER_QUERY] for start in range(0, len(rows), _ROWS_PER_QUERY))
