"""The model field for secrets.

Laws of this module:
- The database sees sealed bytes only; an attribute yields an opaque `Sealed`, never the plaintext.
- A sealed value is bound to its model, column and row. Therefore models with a SealedField have UUID primary keys,
  which are known before the first save.
- A value assigned from another row is opened and sealed anew for its new place.
"""

import uuid
from typing import Any, NoReturn

from django.core import checks
from django.db import models
from django.db.models.query_utils import DeferredAttribute

from aegis_site.kernel.keyring import get_keyring


class Sealed:
    """A secret that does not show itself. `reveal()` opens it; nothing else does."""

    __slots__ = ("_blob", "_place", "_plaintext")

    def __init__(self, *, blob: bytes = b"", place: bytes = b"", plaintext: bytes | None = None) -> None:
        self._blob = blob
        self._place = place
        self._plaintext = plaintext

    @classmethod
    def of(cls, plaintext: bytes | str) -> "Sealed":
        """A new secret, to be assigned to a SealedField. It is sealed when its row is saved."""
        return cls(plaintext=plaintext.encode() if isinstance(plaintext, str) else bytes(plaintext))

    def reveal(self) -> bytes:
        """The plaintext. Raises SecretUnreadable when the keyring or the place does not fit."""
        if self._plaintext is not None:
            return self._plaintext
        return get_keyring().open(self._blob, self._place)

    def sealed_for(self, place: bytes) -> "Sealed":
        """This secret as stored at `place`: itself when it is already there, else sealed anew."""
        if self._plaintext is None and self._place == place:
            return self
        return Sealed(blob=get_keyring().seal(self.reveal(), place), place=place)

    def found_at(self, place: bytes) -> "Sealed":
        """A value just read from the database, told which place it was read from."""
        return self if self._place or self._plaintext is not None else Sealed(blob=self._blob, place=place)

    @property
    def blob(self) -> bytes:
        """The sealed bytes as stored; empty before the row was saved."""
        return self._blob

    def __repr__(self) -> str:
        return "<Sealed>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a sealed value is not for serialising")

    def __deepcopy__(self, memo: dict[int, Any]) -> "Sealed":
        return self  # immutable; Django copies instances and form initials


class SealedAttribute(DeferredAttribute):
    """Hands out Sealed values that know their place, and takes nothing but Sealed or None."""

    field: "SealedField"

    def __get__(self, instance: models.Model | None, cls: type[models.Model] | None = None) -> Any:
        value = super().__get__(instance, cls)
        if instance is None or not isinstance(value, Sealed):
            return value
        return value.found_at(self.field.place_of(instance))

    def __set__(self, instance: models.Model, value: Any) -> None:
        if value is not None and not isinstance(value, Sealed):
            raise TypeError(f"{self.field} takes Sealed.of(...) or None, not {type(value).__name__}")
        instance.__dict__[self.field.attname] = value


class SealedField(models.BinaryField):  # type: ignore[type-arg]
    """A secret of at most a few KiB, sealed with the keyring. Null means: there is none."""

    description = "Secret sealed with AES-256-GCM"
    descriptor_class = SealedAttribute

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("null", True)
        kwargs.setdefault("blank", True)
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> Any:
        # Django leaves out what equals its own defaults, which are not the defaults here.
        name, path, args, kwargs = super().deconstruct()
        return name, path, args, {**kwargs, "null": self.null, "blank": self.blank}

    def place_of(self, instance: models.Model) -> bytes:
        """The associated data that bind a value to its row."""
        return self.place_at(instance.pk)

    def place_at(self, primary_key: uuid.UUID) -> bytes:
        """As `place_of`, for a row that is known by its primary key."""
        return f"{self.model._meta.label_lower}|{self.column}|{primary_key}".encode()

    def from_db_value(self, value: bytes | memoryview | None, *_: Any) -> Sealed | None:
        return None if value is None else Sealed(blob=bytes(value))

    def pre_save(self, model_instance: models.Model, add: bool) -> bytes | None:
        value: Sealed | None = getattr(model_instance, self.attname)
        if value is None:
            return None
        sealed = value.sealed_for(self.place_of(model_instance))
        setattr(model_instance, self.attname, sealed)
        return sealed.blob

    def get_prep_value(self, value: Any) -> Any:
        if isinstance(value, Sealed):
            raise TypeError(f"{self} cannot be written or filtered in bulk: a secret belongs to one row; use save()")
        return super().get_prep_value(value)

    def value_to_string(self, obj: models.Model) -> NoReturn:
        raise TypeError(f"{self} is not for serialising")

    def check(self, **kwargs: Any) -> list[checks.CheckMessage]:
        problems = super().check(**kwargs)
        if not isinstance(self.model._meta.pk, models.UUIDField):
            problems.append(
                checks.Error(
                    "A model with a SealedField needs a UUID primary key.",
                    hint="A secret is bound to its row, which must be known before the first save.",
                    obj=self,
                    id="aegis.kernel.E001",
                )
            )
        return problems
