"""Files that come with a form."""

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import RequestFactory

from aegis_site.kernel.uploads import DOCUMENT_FIELD, MAX_DOCUMENT_BYTES, MAX_KEPT_BYTES


def received(content: bytes) -> Any:
    """The file as a view gets it."""
    request = RequestFactory().post("/", {"file": SimpleUploadedFile("a.pem", content, "application/x-pem-file")})
    return request.FILES["file"]


@pytest.mark.parametrize("size", [0, 1, 70_000, MAX_KEPT_BYTES])
def test_a_file_is_kept_in_memory(size: int) -> None:
    """Whatever the number of chunks, up to the limit, with its name and type."""
    content = bytes(number % 251 for number in range(size))
    upload = received(content)
    assert (upload.name, upload.content_type, upload.size) == ("a.pem", "application/x-pem-file", size)
    assert upload.read() == content
    assert not hasattr(upload, "temporary_file_path")


def test_of_a_file_that_is_dropped_only_the_size_is_kept() -> None:
    """So that a field can say so; nothing of it lies in memory or on a disk."""
    upload = received(b"x" * (MAX_KEPT_BYTES + 100_000))
    assert upload.size == MAX_KEPT_BYTES + 100_000
    assert len(upload.read()) <= MAX_KEPT_BYTES


def test_the_document_of_hosts_may_be_larger_once() -> None:
    """A second one in the same request is a file like any other."""
    content = b"x" * MAX_DOCUMENT_BYTES
    files = [SimpleUploadedFile(f"{number}.yaml", content, "application/yaml") for number in range(2)]
    request = RequestFactory().post("/", {DOCUMENT_FIELD: files})
    first, second = request.FILES.getlist(DOCUMENT_FIELD)
    assert (first.size, len(first.read())) == (MAX_DOCUMENT_BYTES, MAX_DOCUMENT_BYTES)
    assert second.size == MAX_DOCUMENT_BYTES
    assert len(second.read()) <= MAX_KEPT_BYTES
