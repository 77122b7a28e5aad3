"""refusal: what counts as one; `test_upstream_tls` has it within the traffic."""

from proxyworker.errors import Phase
from proxyworker.net.refusal import MAY_REFUSE, RefusalWatch


def test_a_refusal_is_told_as_soon_as_it_is_clear() -> None:
    """With the code and the words of a connection test."""
    watch = RefusalWatch(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert watch.feed(b"<h1>The SSL certi") is None
    error = watch.feed(b"ficate error</h1>")
    assert error is not None
    assert (error.phase, error.code, error.reason) == (
        Phase.HEAD,
        "client_certificate_rejected",
        "remote error: tls: unknown certificate",
    )


def test_a_long_page_is_not_read_to_its_end() -> None:
    """Beyond the limit of a connection test nothing is looked at."""
    watch = RefusalWatch(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    for _ in range(5):
        assert watch.feed(b"x" * 16_384) is None
    assert watch.feed(b"The SSL certificate error") is None


def test_two_statuses_may_be_refusals() -> None:
    """nginx's, and that of RFC 9110 section 15.5.20."""
    assert sorted(MAY_REFUSE) == [400, 421]
