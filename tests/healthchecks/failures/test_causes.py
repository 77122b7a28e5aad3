"""causes: which are TLS's."""

import pytest

from healthchecks.failures.causes import is_tls
from upstream_tls.tls.meanings import meaning_of
from upstream_tls.tls.remedies import REMEDIES


@pytest.mark.parametrize("code", ["unknown_authority", "client_certificate_required", "pin_mismatch", "tls_alert"])
def test_certificates_and_handshakes(code: str) -> None:
    """Are TLS's."""
    assert is_tls(code)


@pytest.mark.parametrize("code", ["connection_refused", "timeout", "unexpected_status", "not_http", "whatever"])
def test_connections_and_answers(code: str) -> None:
    """Are not, and neither is what nobody knows."""
    assert not is_tls(code)


def test_every_code_is_one_or_the_other() -> None:
    """A new code with a remedy is TLS's unless it is listed as the transport's."""
    transport = {code for code in REMEDIES if not is_tls(code)}
    assert all(meaning_of(code) is not None for code in REMEDIES)
    assert len(transport) == 7
