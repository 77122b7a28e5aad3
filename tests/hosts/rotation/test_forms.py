"""The form that begins a rotation."""

from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile

from hosts.rotation.forms import RotationForm
from tests.hosts.rotation.examples import NEW
from tests.support.pkcs12_files import pkcs12_of
from upstream_tls.changes import KEEP


def test_texts_become_a_pair() -> None:
    """Without a key it is for the stored one."""
    form = RotationForm({"client_certificate": NEW.chain_pem, "client_key": NEW.key_pem})
    assert form.is_valid()
    assert (form.pair.client_certificate, form.pair.client_key) == (NEW.chain_pem.strip(), NEW.key_pem.strip())
    form = RotationForm({"client_certificate": NEW.chain_pem})
    assert form.is_valid()
    assert form.pair.client_key is KEEP


def test_a_pkcs12_file_brings_both() -> None:
    """As in the editor of hosts."""
    content = pkcs12_of(NEW)
    file = SimpleUploadedFile("new.p12", content)
    form = RotationForm({"client_key_passphrase": "secret"}, {"client_certificate_file": file})
    assert form.is_valid(), form.errors
    assert form.pair.client_pkcs12 == content
    assert form.pair.client_key_passphrase == "secret"


def test_errors_of_the_service_find_their_field() -> None:
    """What belongs to none is said above."""
    form = RotationForm({"client_certificate": NEW.chain_pem})
    form.is_valid()
    form.refuse(
        ValidationError(
            {"upstream_tls.client_key": "a", "upstream_tls.client_pkcs12": "b", "upstream_tls.enabled": "c"}
        )
    )
    assert dict(form.errors) == {"client_key": ["a"], "client_certificate_file": ["b"], "__all__": ["c"]}
