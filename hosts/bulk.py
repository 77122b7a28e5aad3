"""Saves many rows with few statements.

Laws of this module: the caller has locked what is stored, and knows that it is still there. No UPDATE takes sealed
values in bulk; an INSERT that becomes an update does, row by row, with values of its own for each.
"""

from collections.abc import Sequence
from typing import Any

from django.db import models

from aegis_site.kernel.fields import SealedField


def save_rows(rows: Sequence[models.Model]) -> None:
    """Rows of one model, new and stored ones, with the values that they have. Raises IntegrityError."""
    if not rows:
        return
    model = type(rows[0])
    # A new row never overwrites one that happens to have its key.
    model._default_manager.bulk_create([row for row in rows if row._state.adding])
    model._default_manager.bulk_create(
        [row for row in rows if not row._state.adding],
        update_conflicts=True,
        unique_fields=[model._meta.pk.name],
        update_fields=[field.name for field in model._meta.concrete_fields if not _is_kept(field)],
    )


def seal(row: models.Model) -> None:
    """Seal the secrets of a row as its save would, which then has less to do."""
    for field in row._meta.concrete_fields:
        if isinstance(field, SealedField):
            field.pre_save(row, add=False)


def _is_kept(field: Any) -> bool:
    return field.primary_key or getattr(field, "auto_now_add", False)
