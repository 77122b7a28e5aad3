"""What the callbacks note of a handshake, under both versions of TLS."""

import datetime

import pytest
from OpenSSL import SSL

from tests.upstream_tls.tls.pump import shake_hands
from upstream_tls.tls.context import build_context
from upstream_tls.tls.session import SessionState
from upstream_tls.tls.spec import TLS_VERSIONS
from upstream_tls.zoo.member import settings
from upstream_tls.zoo.pki import PKI
from upstream_tls.zoo.servers import TLSUpstream

VERSIONS = pytest.mark.parametrize("version", TLS_VERSIONS)


@pytest.fixture(scope="module")
def pki() -> PKI:
    return PKI(b"tests of sessions", datetime.datetime.now(datetime.UTC))


def state_after(pki: PKI, upstream: TLSUpstream, version: str, **changes: object) -> SessionState:
    spec = settings(pki, min_version=version, max_version=version, **changes)  # type: ignore[arg-type]
    client: SSL.Connection = shake_hands(build_context(spec), upstream).client
    state: SessionState = client.get_app_data()
    return state


@VERSIONS
def test_request_and_sending_of_our_certificate_are_noted(pki: PKI, version: str) -> None:
    """Asked or not, sent or not."""
    asking = TLSUpstream(identity=pki.server(), clients=(pki.clients_root,), takes_any_client=True)
    plain = TLSUpstream(identity=pki.server())
    for upstream, without, expected in (
        (asking, False, (True, True)),
        (asking, True, (True, False)),
        (plain, False, (False, False)),
    ):
        state = state_after(pki, upstream, version, without_client=without)
        assert (state.certificate_requested, state.certificate_sent) == expected
        assert state.is_accepted


@VERSIONS
def test_first_verify_error_stands(pki: PKI, version: str) -> None:
    """20 is followed by 21 at the same depth when nobody stops it."""
    upstream = TLSUpstream(identity=pki.server(issuer=pki.stranger))
    for skip_verify in (False, True):
        state = state_after(pki, upstream, version, skip_verify=skip_verify)
        assert (state.verify_code, state.depth) == (20, 0)
        assert state.is_accepted is skip_verify


@VERSIONS
def test_alerts_are_noted_with_their_direction(pki: PKI, version: str) -> None:
    """Ours over an unknown authority, and the upstream's over our certificate."""
    state = state_after(pki, TLSUpstream(identity=pki.server(issuer=pki.stranger)), version)
    assert (state.alert_read, state.alert_written) == (None, 48)
    strict = TLSUpstream(identity=pki.server(), clients=(pki.stranger,))
    if version == "TLSv1.2":  # in TLS 1.3 it arrives with the first read
        state = state_after(pki, strict, version)
        assert (state.alert_read, state.alert_written) == (48, None)
