"""Header rules: what they may be, and their text."""

from dataclasses import asdict

import pytest
from django.core.exceptions import ValidationError

from hosts.header_rules import (
    ENTER_AGAIN,
    KEPT,
    MAX_RULES,
    Direction,
    clean_header_rule,
    parse_rules,
    without_secrets,
    write_rules,
)
from hosts.specs import HeaderRuleSpec
from proxyworker.policy.header_rules import NOT_FOR_REQUESTS, NOT_FOR_RESPONSES
from proxyworker.snapshot import RESERVED_REQUEST_FIELDS, RESERVED_RESPONSE_FIELDS
from upstream_tls.changes import KEEP

REQUEST, RESPONSE = Direction.REQUEST, Direction.RESPONSE


def rule(action: str = "set", name: str = "X-Team", value: str = "orders") -> HeaderRuleSpec:
    return HeaderRuleSpec(action=action, name=name, value=value)


def refused(spec: HeaderRuleSpec, direction: Direction = REQUEST) -> dict[str, list[str]]:
    with pytest.raises(ValidationError) as caught:
        clean_header_rule(spec, direction)
    return caught.value.message_dict


@pytest.mark.parametrize(
    "spec",
    [
        rule(),
        rule("add", "Link", "</a.css>; rel=preload"),
        rule("remove", "Server", ""),
        rule(name="a!#$%&'*+.^_`|~9"),
        rule(value="x"),
        rule(value="v" * 4096),
    ],
)
@pytest.mark.parametrize("direction", Direction)
def test_ordinary_rules_stay_as_they_are(spec: HeaderRuleSpec, direction: Direction) -> None:
    """Names keep their spelling."""
    assert clean_header_rule(spec, direction) is spec


@pytest.mark.parametrize("name", ["", "X Team", "X-Team:", "X-Te\r\nam", "Größe", "X(Y)", '"X"', "X\x00", "n" * 201])
def test_a_name_is_a_token(name: str) -> None:
    """RFC 9110 section 5.6.2."""
    assert list(refused(rule(name=name))) == ["name"]


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\rb", "a\x00b", "a\tb", " a", "a ", "ü", "\x7f", "v" * 4097])
def test_a_value_is_one_line_of_printable_ascii(value: str) -> None:
    """Nothing in it could begin another field or another response."""
    assert list(refused(rule(value=value))) == ["value"]


def test_only_what_is_removed_has_no_value() -> None:
    """An empty value, in nginx a way to remove, is refused with the word for it."""
    assert refused(rule(value="")) == {"value": ["Enter a value; to drop the field, remove it."]}
    assert list(refused(rule("remove"))) == ["value"]
    assert refused(rule("replace")) == {"action": ["One of set, add and remove."]}


@pytest.mark.parametrize("action", ["set", "add", "remove"])
def test_what_the_proxy_decides_is_refused(action: str) -> None:
    """Framing, routing and forwarding, in any spelling; what is meant has its setting named."""
    value = "" if action == "remove" else "x"
    names = {
        *RESERVED_REQUEST_FIELDS,
        "X-Forwarded-For",
        "x-forwarded-anything",
        "HOST",
        "Transfer-Encoding",
        "X_Real_IP",
    }
    for name in names:
        assert list(refused(rule(action, name, value))) == ["name"]
    for name in RESERVED_RESPONSE_FIELDS:
        assert list(refused(rule(action, name, value), RESPONSE)) == ["name"]
    assert "Preserve Host Header" in refused(rule(action, "Host", value))["name"][0]
    assert "Use HSTS" in refused(rule(action, "Strict-Transport-Security", value), RESPONSE)["name"][0]


def test_what_the_worker_would_refuse_is_reserved() -> None:
    """A rule that can be saved can be used."""
    assert {name.decode() for name in NOT_FOR_REQUESTS} <= RESERVED_REQUEST_FIELDS
    assert {name.decode() for name in NOT_FOR_RESPONSES} <= RESERVED_RESPONSE_FIELDS


def test_a_text_has_a_rule_in_each_line() -> None:
    """Without an action a line sets; empty lines and spaces do not matter; what is written is read again."""
    text = "X-A: b: c\n\n  SET X-B:  d  \nadd Link: </a>\r\nremove Server\nset: x"
    rules = parse_rules(text, RESPONSE)
    assert rules == (
        rule("set", "X-A", "b: c"),
        rule("set", "X-B", "d"),
        rule("add", "Link", "</a>"),
        rule("remove", "Server", ""),
        rule("set", "set", "x"),
    )
    written = write_rules(asdict(rule) for rule in rules)
    assert written == "set X-A: b: c\nset X-B: d\nadd Link: </a>\nremove Server\nset set: x"
    assert parse_rules(written, RESPONSE) == rules


def test_errors_name_the_line() -> None:
    """All of them at once."""
    with pytest.raises(ValidationError) as caught:
        parse_rules("X-A: b\nset Host: x\n\nadd foo\nremove\nremove Server: nginx", REQUEST)
    assert [message.partition(":")[0] for message in caught.value.messages] == ["Line 2", "Line 4", "Line 5", "Line 6"]


def test_there_are_not_too_many() -> None:
    """The bound is named."""
    line = "X-A: b\n"
    assert len(parse_rules(line * MAX_RULES, REQUEST)) == MAX_RULES
    with pytest.raises(ValidationError, match="At most 50 rules") as caught:
        parse_rules("?\n" * 100_000, REQUEST)
    assert len(caught.value.messages) == 1


def test_a_text_shows_no_secret_and_keeps_it() -> None:
    """A stored one is called kept; left so, or empty, it stays; any other value replaces it."""
    stored = [{"action": "set", "name": "X-A", "secret": "1"}, {"action": "add", "name": "Cookie", "secret": "2"}]
    text = write_rules(stored)
    assert text == f"set secret X-A: {KEPT}\nadd secret Cookie: {KEPT}"
    for kept in (text, "secret X-A:\nadd Cookie: "):
        first, second = parse_rules(kept, REQUEST)
        assert (first.name, first.value, first.sensitive) == ("X-A", KEEP, True)
        assert (second.action, second.name, second.value) == ("add", "Cookie", KEEP)
    (replaced,) = parse_rules("SET SECRET X-A: b", REQUEST)
    assert replaced == HeaderRuleSpec(action="set", name="X-A", value="b", sensitive=True)
    assert parse_rules("secret: x", REQUEST) == (rule(name="secret", value="x"),)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("X-Team: orders", "X-Team: orders"),
        ("set Authorization: Bearer canary", f"set Authorization: {ENTER_AGAIN}"),
        ("  add secret X-Team:canary", f"  add secret X-Team: {ENTER_AGAIN}"),
        ("X-Team: Basic canary", f"X-Team: {ENTER_AGAIN}"),
        (f"set secret X-Team: {KEPT}", f"set secret X-Team: {KEPT}"),
        ("set Cookie:", "set Cookie:"),
        ("remove Cookie", "remove Cookie"),
        ("set Authorization Bearer canary", ENTER_AGAIN),
        ("set secret X-Team canary", ENTER_AGAIN),
        ("what is this", "what is this"),
    ],
)
def test_a_refused_text_comes_back_without_secrets(line: str, shown: str) -> None:
    """Not even to who has just typed them: pages are cached and looked at over shoulders."""
    assert without_secrets(f"{line}\nX-A: b") == f"{shown}\nX-A: b"


def test_what_came_back_has_to_be_entered_again() -> None:
    """It must not be taken for the stored value."""
    with pytest.raises(ValidationError, match="Line 1: Enter the value again"):
        parse_rules(f"set Authorization: {ENTER_AGAIN}", REQUEST)
