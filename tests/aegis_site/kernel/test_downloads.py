"""Answers that are files."""

import threading

from aegis_site.kernel.downloads import attachment, in_a_place


def test_a_download() -> None:
    """Type, name and content are as given."""
    response = attachment("text", media_type="application/x-test", file_name="a.txt")
    assert response.content == b"text"
    assert response["Content-Type"] == "application/x-test"
    assert response["Content-Disposition"] == 'attachment; filename="a.txt"'


def test_chunks_hold_their_place_until_they_end() -> None:
    """Read to the end, or closed before anything was read."""
    places = threading.BoundedSemaphore(1)
    for end in (list, lambda chunks: chunks.close()):
        chunks = in_a_place(places, iter(("a", "b")))
        assert chunks is not None
        assert in_a_place(places, iter(("c",))) is None
        end(chunks)
    assert "".join(in_a_place(places, iter(("a", "b"))) or ()) == "ab"
