"""Fields for what operators upload."""

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile

from tests.support.certificates import Authority
from upstream_tls.form_fields import CertificateTextarea, ListField, UploadField, WriteOnlyTextarea
from upstream_tls.tls.pem import MAX_PEM_BYTES

LEAF = Authority().client()


def uploaded(content: bytes) -> object:
    return UploadField(required=False).clean(SimpleUploadedFile("a.file", content))


def test_a_file_comes_out_as_pem_text() -> None:
    """PEM as it is, DER in its armour, anything else as the text that it is not; no file is None."""
    assert uploaded(LEAF.chain_pem.encode()) == LEAF.chain_pem
    assert uploaded(LEAF.certificate.public_bytes(Encoding.DER)) == LEAF.chain_pem
    assert uploaded(LEAF.key_der) == LEAF.key_pem
    assert uploaded(b"\xff\0") == "\ufffd\0"
    assert UploadField(required=False).clean(None) is None


def test_size_is_looked_at_first() -> None:
    """Too large a file and an empty one are refused at their field."""
    with pytest.raises(ValidationError, match="The file is larger than 1024 KiB"):
        uploaded(b"x" * (MAX_PEM_BYTES + 1))
    with pytest.raises(ValidationError, match="empty"):
        uploaded(b"")


def test_no_widget_shows_a_key() -> None:
    """A key pasted into a certificate field is not echoed, and the key's own field echoes nothing."""
    assert LEAF.chain_pem.splitlines()[1] in CertificateTextarea().render("a", LEAF.chain_pem)
    assert LEAF.key_pem.splitlines()[1] not in CertificateTextarea().render("a", LEAF.chain_pem + LEAF.key_pem)
    assert LEAF.key_pem.splitlines()[1] not in WriteOnlyTextarea().render("a", LEAF.key_pem)
    assert len(CertificateTextarea().render("a", "x" * (MAX_PEM_BYTES + 1))) < 2000


def test_lists_are_separated_by_commas_or_white_space() -> None:
    """However they were typed; nothing is an empty list."""
    assert ListField(required=False).clean(" a,b\r\nc ,, d ") == ("a", "b", "c", "d")
    assert ListField(required=False).clean("") == ListField(required=False).clean(None) == ()
