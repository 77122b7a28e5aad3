"""Exports with secrets: the one way in which keys leave this installation, sealed, and never without a trace."""

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ValidationError

from aegis_site.kernel.audit.actor import Actor
from aegis_site.kernel.audit.services import record
from hosts.exchange.documents import export_document
from hosts.exchange.sealing import PassphraseSealer, PassphraseUnusable
from hosts.models import Host

# The permission; `hosts.models.Host` defines it.
EXPORT_SECRETS = "hosts.export_host_secrets"


def export_sealed(hosts: Sequence[Host], *, passphrase: str, user: Actor | None) -> dict[str, Any]:
    """The document of `hosts` with their secrets sealed to `passphrase`, noted in the audit log.

    Raises ValidationError for a passphrase that is too short or too long, and SecretUnreadable.
    """
    try:
        sealer = PassphraseSealer.for_export(passphrase)
    except PassphraseUnusable as error:
        raise ValidationError({"passphrase": ValidationError(error.message, code=error.code)}) from error
    document = export_document(hosts, sealer=sealer)
    record(
        user=user,
        action="exported",
        target_type="hosts",
        target_id="",
        target_name=f"{len(hosts)} {'host' if len(hosts) == 1 else 'hosts'} with sealed secrets",
        changes=[{"field": host.name, "before": None, "after": "exported"} for host in hosts],
    )
    return document
