"""Answers that are files."""

import threading
from collections.abc import Generator, Iterator
from typing import TypeVar

from django.http import HttpResponse

C = TypeVar("C", str, bytes)


def attachment(content: str | bytes, *, media_type: str, file_name: str) -> HttpResponse:
    """A download. `file_name` is ASCII without quotes."""
    return HttpResponse(
        content, content_type=media_type, headers={"Content-Disposition": f'attachment; filename="{file_name}"'}
    )


def in_a_place(places: threading.BoundedSemaphore, chunks: Iterator[C]) -> Generator[C, None, None] | None:
    """These chunks, while one of the places is taken, to its end or until it is closed; None: no place is free."""
    if not places.acquire(blocking=False):
        return None

    def held() -> Generator[C | None, None, None]:
        try:
            yield None
            yield from chunks
        finally:
            places.release()

    # Begun at once: a generator that was not does nothing when it is closed, as by a client that is gone already.
    begun = held()
    next(begun)
    return begun  # type: ignore[return-value]  # the None is behind it
