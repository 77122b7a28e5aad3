"""Keys for renewals."""

from hosts.rotation.new_keys import NewKey, key_like
from localca.models import IssuedCertificate
from localca.signing_requests import read_signing_request
from tests.hosts.rotation.examples import NEW


def test_a_key_and_its_request() -> None:
    """A new one of the same type each time; the key does not show in a repr."""
    certificate = IssuedCertificate(certificate_pem=NEW.chain_pem)
    one, two = key_like(certificate), key_like(certificate)
    assert one.key_pem != two.key_pem
    assert read_signing_request(one.csr_pem).public_key != NEW.certificate.public_key()
    assert one.key_pem.splitlines()[1] not in repr(one)
    assert isinstance(one, NewKey)
