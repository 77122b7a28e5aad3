"""Seals every stored secret anew under the current AEGIS_SSL_KEY."""

from typing import Any

import click
from django.core.management.base import BaseCommand, CommandError

from aegis_site.kernel.audit.services import record
from aegis_site.kernel.keyring import KeyringError, SecretUnreadable
from aegis_site.kernel.secrets import count_secrets, reseal_secrets, unreadable_secrets


class Command(BaseCommand):
    """Run it with the new key in AEGIS_SSL_KEY and the old one in AEGIS_SSL_KEY_PREVIOUS (docs/operations.md)."""

    help = (
        "Seal every secret with AEGIS_SSL_KEY, opening with AEGIS_SSL_KEY_PREVIOUS where needed. "
        "May be interrupted and started again; afterwards AEGIS_SSL_KEY_PREVIOUS can be removed."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            # Nothing is changed before it is known that every secret opens.
            if unreadable := [str(secret) for secret in unreadable_secrets()]:
                raise CommandError("these secrets open with no configured key:\n  " + "\n  ".join(unreadable))
            total = count_secrets()
            # Before the first: what follows may be interrupted at any secret, and then some are sealed anew.
            record(user=None, action="keys_rotated", target_type="secrets", target_id="", target_name="all secrets")
            with click.progressbar(length=total, label="Sealing secrets") as progress:
                changed = reseal_secrets(on_progress=progress.update)
        except (KeyringError, SecretUnreadable) as error:
            raise CommandError(error.message) from error
        self.stdout.write(f"{changed} of {total} secrets sealed with the current key; the others already were.")
        self.stdout.write("AEGIS_SSL_KEY_PREVIOUS is no longer needed by this database.")
