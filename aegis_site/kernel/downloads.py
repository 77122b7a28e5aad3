"""Answers that are files."""

from django.http import HttpResponse


def attachment(content: str | bytes, *, media_type: str, file_name: str) -> HttpResponse:
    """A download. `file_name` is ASCII without quotes."""
    return HttpResponse(
        content, content_type=media_type, headers={"Content-Disposition": f'attachment; filename="{file_name}"'}
    )
