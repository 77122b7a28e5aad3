"""How many connections clients may have."""

from proxyworker.policy.admission import STATUS, Admission, Refusal
from proxyworker.policy.trusted_proxies import TrustedProxies


def admission(max_connections: int = 0, max_per_client: int = 0) -> Admission:
    """With one trusted proxy."""
    return Admission(
        max_connections=max_connections, max_per_client=max_per_client, trusted=TrustedProxies(["10.0.0.1"])
    )


def test_the_total() -> None:
    """One more than there may be is refused until one is gone; the refused one does not count."""
    made = admission(max_connections=2)
    assert [made.enter() for _ in range(4)] == [None, None, Refusal.TOTAL, Refusal.TOTAL]
    made.leave()
    assert [made.enter(), made.enter()] == [None, Refusal.TOTAL]
    assert made.total == 2


def test_one_client() -> None:
    """Each client has its own number, a trusted proxy has none."""
    made = admission(max_per_client=1)
    assert [made.enter_client("192.0.2.7"), made.enter_client("192.0.2.7")] == [None, Refusal.CLIENT]
    assert made.enter_client("192.0.2.8") is None
    assert [made.enter_client("10.0.0.1") for _ in range(3)] == [None] * 3
    made.leave_client("10.0.0.1")
    made.leave_client("192.0.2.7")
    assert made.enter_client("192.0.2.7") is None


def test_no_limits() -> None:
    """Zero is none."""
    made = admission()
    for _ in range(1000):
        assert made.enter() is None
        assert made.enter_client("192.0.2.7") is None
    made.leave_client("192.0.2.7")


def test_nothing_is_kept_of_a_client_without_connections() -> None:
    """Addresses that came once do not add up."""
    made = admission(max_per_client=5)
    for number in range(100):
        made.enter_client(f"192.0.2.{number}")
        made.leave_client(f"192.0.2.{number}")
    assert made._by_client == {}


def test_statuses() -> None:
    """Both limits have one; what breaks the PROXY protocol is told nothing."""
    assert STATUS == {Refusal.TOTAL: 503, Refusal.CLIENT: 429}
