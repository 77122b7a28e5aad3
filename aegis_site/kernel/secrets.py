"""All sealed values of the database: which of them the keyring cannot open, and sealing them with a new key."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db import connections, models, router

from aegis_site.kernel.fields import Sealed, SealedField
from aegis_site.kernel.keyring import Keyring, SecretUnreadable, get_keyring

ROWS_PER_BATCH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableSecret:
    """One stored secret that does not open, named for an operator."""

    model: str
    column: str
    primary_key: str
    row: str
    reason: str

    def __str__(self) -> str:
        return f"{self.model} {self.row!r} ({self.primary_key}), {self.column}: {self.reason}"


def sealed_columns() -> list[tuple[type[models.Model], SealedField]]:
    """Every column of the product that holds secrets."""
    return [
        (model, field)
        for model in apps.get_models()
        for field in model._meta.local_concrete_fields
        if isinstance(field, SealedField)
    ]


def count_secrets() -> int:
    """How many secrets are stored. One query per column."""
    return sum(_rows(model, field).count() for model, field in sealed_columns())


def unreadable_secrets() -> Iterator[UnreadableSecret]:
    """Opens every stored secret and yields those that do not open. Tables not yet migrated have none."""
    for model, field in sealed_columns():
        connection = connections[router.db_for_read(model)]
        if model._meta.db_table not in connection.introspection.table_names():
            continue
        # Of the other columns none is read: before a migration, which this check precedes, new ones are not there yet.
        for instance in _rows(model, field).only(field.attname).iterator(ROWS_PER_BATCH):
            try:
                getattr(instance, field.attname).reveal()
            except SecretUnreadable as error:
                yield UnreadableSecret(
                    model=model._meta.label,
                    column=field.attname,
                    primary_key=str(instance.pk),
                    row=str(instance),
                    reason=error.message,
                )


def reseal_secrets(*, on_progress: Callable[[int], None]) -> int:
    """Seals every secret anew that is not under the current key. Returns how many were changed.

    Works row by row with compare-and-set, so it may run beside writers, be interrupted at any point and be started
    again. `on_progress` hears the number of rows looked at in each batch. Raises SecretUnreadable at the first secret
    that no key opens; what was changed until then stays.
    """
    keyring = get_keyring()
    return sum(_reseal_column(keyring, model, field, on_progress) for model, field in sealed_columns())


def _reseal_column(
    keyring: Keyring, model: type[models.Model], field: SealedField, on_progress: Callable[[int], None]
) -> int:
    changed = 0
    last: Any = None
    while batch := list(_after(_rows(model, field), last).values_list("pk", field.attname)[:ROWS_PER_BATCH]):
        changed += sum(_reseal_row(keyring, model, field, pk, value) for pk, value in batch)
        last = batch[-1][0]
        on_progress(len(batch))
    return changed


def _reseal_row(keyring: Keyring, model: type[models.Model], field: SealedField, pk: Any, value: Sealed) -> bool:
    if keyring.is_current(value.blob):
        return False
    place = field.place_at(pk)
    fresh = keyring.seal(keyring.open(value.blob, place), place)
    # A writer that was faster has sealed under the current key already.
    same_row = model._base_manager.filter(pk=pk, **{field.attname: value.blob})
    return same_row.update(**{field.attname: fresh}) == 1


def _rows(model: type[models.Model], field: SealedField) -> models.QuerySet[Any]:
    return model._base_manager.exclude(**{f"{field.attname}__isnull": True}).order_by("pk")


def _after(rows: models.QuerySet[Any], last: Any) -> models.QuerySet[Any]:
    return rows if last is None else rows.filter(pk__gt=last)
