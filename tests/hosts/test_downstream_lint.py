"""What about a certificate for clients will go wrong although it can be served."""

import datetime

import pytest

from hosts.downstream_lint import lint_downstream
from tests.support.certificates import DAY, Authority, Leaf, expired

CA = Authority("Sites CA")
NOW = datetime.datetime.now(datetime.UTC)


def found(leaf: Leaf, *domains: str) -> list[str]:
    return [warning.code for warning in lint_downstream([leaf.certificate], domains=domains, now=NOW)]


@pytest.mark.parametrize(
    ("leaf", "expected"),
    [
        (CA.server("a.test", "*.a.test"), []),
        (CA.server("a.test"), ["domain_not_covered"]),
        (CA.issue("a.test"), ["domain_not_covered"]),
        (CA.client("a", names=("a.test", "*.a.test")), ["no_server_auth"]),
        (CA.server("a.test", "*.a.test", **expired()), ["expired"]),
        (CA.server("a.test", "*.a.test", not_after=NOW + 10 * DAY), ["expires_soon"]),
        (CA.server("a.test", "*.a.test", not_before=NOW + DAY), ["not_yet_valid"]),
    ],
)
def test_each_warning(leaf: Leaf, expected: list[str]) -> None:
    """One fault, one warning."""
    assert found(leaf, "a.test", "*.a.test") == expected


def test_good_certificate_and_none() -> None:
    """Nothing to say."""
    leaf = CA.server("a.test", "*.a.test")
    assert found(leaf, "a.test", "*.a.test", "b.a.test") == []
    assert lint_downstream((), domains=["a.test"], now=NOW) == ()


def test_uncovered_domains_are_named() -> None:
    """The first few of many."""
    [warning] = lint_downstream([CA.server("a.test").certificate], domains=[f"{n}.test" for n in range(5)], now=NOW)
    assert warning.message == "The certificate does not name 0.test, 1.test, 2.test and 2 more. Browsers warn there."
    assert warning.field == "certificate"
