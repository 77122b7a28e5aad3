"""Uploaded files: in memory, bounded, and never on a disk, because one of them may be a private key.

Laws of this module: of a file that is too large nothing is kept but its size, so that the form can name the limit at
its field instead of the whole request being refused.
"""

import io
from typing import Any

from django.core.files.uploadedfile import InMemoryUploadedFile
from django.core.files.uploadhandler import FileUploadHandler

# What a field takes at most is below this; no form has use for more.
MAX_KEPT_BYTES = 2 * 1024 * 1024


class BoundedMemoryUploadHandler(FileUploadHandler):
    """For FILE_UPLOAD_HANDLERS: a file of at most MAX_KEPT_BYTES, or an empty one that tells the true size."""

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        self._content = io.BytesIO()

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        if start + len(raw_data) <= MAX_KEPT_BYTES:
            self._content.write(raw_data)
        else:
            self._content = io.BytesIO()

    def file_complete(self, file_size: int) -> InMemoryUploadedFile:
        self._content.seek(0)
        return InMemoryUploadedFile(
            file=self._content,
            field_name=self.field_name,
            name=self.file_name,
            content_type=self.content_type,
            size=file_size,
            charset=self.charset,
            content_type_extra=self.content_type_extra,
        )
