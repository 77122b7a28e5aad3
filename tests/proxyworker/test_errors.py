"""Errors of the data plane."""

from proxyworker.errors import DownstreamProtocolError, Phase, ProxyError, RetrySafety, UpstreamError


def test_texts_for_operators() -> None:
    """Each error says its phase or status, its code and its reason."""
    assert str(DownstreamProtocolError(431, "too many fields")) == "431: too many fields"
    assert str(UpstreamError(phase=Phase.TLS, code="expired", reason="why")) == "tls: expired: why"


def test_an_upstream_error_is_unsafe_to_repeat_unless_said_otherwise() -> None:
    """Fail closed: nothing is sent twice by default."""
    error = UpstreamError(phase=Phase.HEAD, code="x", reason="y")
    assert error.retry_safety is RetrySafety.UNSAFE
    assert not error.timed_out
    assert isinstance(error, ProxyError)
