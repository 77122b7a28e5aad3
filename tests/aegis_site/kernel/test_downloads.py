"""Answers that are files."""

from aegis_site.kernel.downloads import attachment


def test_a_download() -> None:
    """Type, name and content are as given."""
    response = attachment("text", media_type="application/x-test", file_name="a.txt")
    assert response.content == b"text"
    assert response["Content-Type"] == "application/x-test"
    assert response["Content-Disposition"] == 'attachment; filename="a.txt"'
