"""Uploaded files: in memory, bounded, and never on a disk, because one of them may be a private key.

Laws of this module: of a file that is too large nothing is kept but its size, so that the form can name the limit at
its field instead of the whole request being refused. Anybody can send files to any page, so the one field that takes
more takes it once in a request.
"""

import io
from typing import Any

from django.core.files.uploadedfile import InMemoryUploadedFile
from django.core.files.uploadhandler import FileUploadHandler

# What a field takes at most is below this; only one form has use for more.
MAX_KEPT_BYTES = 2 * 1024 * 1024

# The document of all hosts of an installation.
DOCUMENT_FIELD = "hosts_document"
MAX_DOCUMENT_BYTES = 6 * 1024 * 1024


class BoundedMemoryUploadHandler(FileUploadHandler):
    """For FILE_UPLOAD_HANDLERS: a file of at most MAX_KEPT_BYTES, or an empty one that tells the true size.

    One object for each request. Of a DOCUMENT_FIELD the limit is MAX_DOCUMENT_BYTES.
    """

    _has_document = False

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        self._content = io.BytesIO()
        is_document = self.field_name == DOCUMENT_FIELD and not self._has_document
        self._has_document |= is_document
        self._limit_bytes = MAX_DOCUMENT_BYTES if is_document else MAX_KEPT_BYTES

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        if start + len(raw_data) <= self._limit_bytes:
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
