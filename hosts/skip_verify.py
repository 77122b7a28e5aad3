"""Ends exceptions from verification whose date is over.

Laws of this module: safe to run at any time, also twice: each host is claimed by its lock and looked at again under it.
One host's failure costs no other its verification.
"""

import datetime
import logging
import uuid
from typing import Any

from django.db import DatabaseError, transaction

from aegis_site.kernel.audit.changes import differences
from aegis_site.kernel.audit.services import record
from hosts.models import Host
from hosts.publish import publish_on_commit
from upstream_tls.changes import UpstreamTLSChanges
from upstream_tls.models import UpstreamTLSConfiguration
from upstream_tls.selectors import exceptions_over
from upstream_tls.services import apply_changes

logger = logging.getLogger(__name__)


def end_exceptions(*, now: datetime.datetime) -> int:
    """Verify the upstreams of every host again whose exception is over at `now`. How many hosts there were."""
    ended = 0
    for host_id in exceptions_over(now).values_list("host_id", flat=True):
        try:
            ended += _end(host_id, now)
        except DatabaseError:
            logger.exception(
                "the exception from verification of host %s was not ended; the next sweep tries again", host_id
            )
    return ended


@transaction.atomic
def _end(host_id: uuid.UUID, now: datetime.datetime) -> bool:
    """Whether this run was the one that ended it."""
    host = Host.objects.select_for_update().filter(pk=host_id).first()
    configuration = exceptions_over(now).filter(host=host).first()
    if host is None or configuration is None:
        return False
    before = _document(configuration)
    apply_changes(configuration, UpstreamTLSChanges(skip_verify=False))
    configuration.save()
    host.save()
    record(
        user=None,
        action="skip_verify_ended",
        target_type="host",
        target_id=host.pk,
        target_name=host.name,
        changes=differences(before, _document(configuration)),
    )
    publish_on_commit([host.pk])
    logger.info("host %s: the exception from verification is over", host.name)
    return True


def _document(configuration: UpstreamTLSConfiguration) -> dict[str, Any]:
    """The exception as the API shows it."""
    until, since = configuration.skip_verify_until, configuration.skip_verify_since
    return {
        "upstream_tls": {
            "skip_verify": configuration.skip_verify,
            "skip_verify_reason": configuration.skip_verify_reason,
            "skip_verify_until": until and until.isoformat(),
            "skip_verify_by": configuration.skip_verify_by,
            "skip_verify_since": since and since.isoformat(),
        }
    }
