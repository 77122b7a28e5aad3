"""Where the work of this moment comes from: an admin page, the API, a command, or Aegis itself.

Laws of this module: loads without Django's apps, because `manage.py` says where commands come from before they are set
up. A source belongs to one thread or task and ends with its block, so no request inherits that of another.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import models

if TYPE_CHECKING:
    from aegis_site.kernel.audit.actor import Actor


class Origin(models.TextChoices):
    """Where a change came from."""

    ADMIN = "admin", "Admin"
    API = "api", "API"
    COMMAND = "command", "Command"
    SYSTEM = "system", "Aegis"


def _nobody() -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Whence, the address of the client when there is one, and who is signed in, which is asked for late."""

    origin: Origin
    client_address: str | None = None
    actor: "Callable[[], Actor | None]" = _nobody


_AEGIS_ITSELF = Source(origin=Origin.SYSTEM)

_source: ContextVar[Source] = ContextVar("audit_source")


def current_source() -> Source:
    """The source of what is done now; Aegis itself unless somebody said otherwise."""
    return _source.get(_AEGIS_ITSELF)


@contextmanager
def source(
    origin: Origin, *, client_address: str | None = None, actor: "Callable[[], Actor | None]" = _nobody
) -> Iterator[None]:
    """What is done in the block comes from there."""
    token = _source.set(Source(origin=origin, client_address=client_address, actor=actor))
    try:
        yield
    finally:
        _source.reset(token)
