"""What clients are shown in a TLS handshake."""

import pytest
from cryptography.hazmat.bindings.openssl.binding import Binding
from OpenSSL import SSL

from proxyworker.net.server_certificate import server_certificate
from tests.support.certificates import Authority
from tests.support.tls_server import accepting, shake_hands
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


@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
def test_no_session_is_kept_for_clients(version: int) -> None:
    """A client that takes no tickets costs nothing when it is gone; one that does can resume."""
    leaf = CA.server("app.test")
    context = server_certificate(leaf.chain_pem.encode(), leaf.key_pem.encode()).context
    assert context.get_session_cache_mode() == SSL.SESS_CACHE_OFF
    ours = SSL.Context(SSL.TLS_CLIENT_METHOD)
    ours.set_max_proto_version(version)
    held: list[SSL.Connection] = []  # a session whose connection is gone without close_notify is not resumed
    for is_resumed in (False, True):
        client, server = SSL.Connection(ours, None), accepting(context)
        client.set_connect_state()
        if held and (session := held[0].get_session()) is not None:
            client.set_session(session)
        assert shake_hands(client, server) is None
        assert Binding().lib.SSL_session_reused(server._ssl) == is_resumed
        held += (client, server)
