"""What clients are shown in a TLS handshake."""

import pytest

from proxyworker.net.server_certificate import server_certificate
from tests.support.certificates import Authority
from upstream_tls.tls.credentials import CredentialProblem

CA = Authority("Sites CA")


def test_names_are_the_leafs() -> None:
    """What the chain's other certificates name does not count."""
    leaf = Authority("Intermediate", parent=CA).server("app.test")
    certificate = server_certificate(leaf.chain_pem.encode(), leaf.key_pem.encode())
    assert certificate.names.cover("app.test")
    assert not certificate.names.cover("other.test")


def test_key_of_another_certificate_is_refused() -> None:
    """With the code that the admin shows."""
    with pytest.raises(CredentialProblem) as problem:
        server_certificate(CA.server("app.test").chain_pem.encode(), CA.server("app.test").key_pem.encode())
    assert problem.value.code == "key_mismatch"
