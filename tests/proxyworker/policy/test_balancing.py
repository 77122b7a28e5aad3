"""Which upstream a request tries."""

from proxyworker.policy.balancing import RoundRobin


def test_each_in_turn_and_the_others_behind() -> None:
    """Every target is first once in a round, the rest follow in order."""
    balancer = RoundRobin("abc")
    assert ["".join(balancer.order()) for _ in range(4)] == ["abc", "bca", "cab", "abc"]


def test_none_and_one() -> None:
    """Nothing to choose from."""
    assert RoundRobin[str]([]).order() == ()
    assert RoundRobin(["a"]).order() == ("a",)
