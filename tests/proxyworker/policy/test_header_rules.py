"""A host's own rules for the fields of its requests and responses."""

import pytest

from proxyworker.policy.header_rules import HeaderRules, RuleRefused, own_fields, request_rules, response_rules
from proxyworker.snapshot import HeaderRule

LINES = [b"X-A: 1", b"x-b:2", b"X-a: 3", b"X_A: 4"]


def rule(action: str, name: str, value: str = "") -> HeaderRule:
    return HeaderRule(action=action, name=name, value=value)  # type: ignore[arg-type]


def for_requests(*rules: HeaderRule) -> HeaderRules:
    made = request_rules(rules)
    assert made is not None
    return made


def for_responses(*rules: HeaderRule) -> HeaderRules:
    made = response_rules(rules)
    assert made is not None
    return made


def test_no_rules_are_nothing() -> None:
    """A host without rules has nothing to apply."""
    assert request_rules(()) is None
    assert response_rules(()) is None


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([rule("set", "X-A", "9")], [b"x-b:2", b"X_A: 4", b"X-A: 9"]),
        ([rule("add", "x-a", "9")], [*LINES, b"x-a: 9"]),
        ([rule("remove", "x-A")], [b"x-b:2", b"X_A: 4"]),
        ([rule("remove", "X-C")], LINES),
        ([rule("set", "X-C", "")], [*LINES, b"X-C: "]),
        ([rule("add", "X-C", "1"), rule("add", "X-C", "2"), rule("remove", "x-b")], None),
        ([rule("remove", "X-A"), rule("add", "X-A", "1")], [b"x-b:2", b"X_A: 4", b"X-A: 1"]),
        ([rule("add", "X-A", "1"), rule("remove", "X-A")], [b"x-b:2", b"X_A: 4"]),
        ([rule("set", "X-C", " caf\xe9\t")], [*LINES, b"X-C: caf\xc3\xa9"]),
    ],
)
def test_rules_of_responses(rules: list[HeaderRule], expected: list[bytes] | None) -> None:
    """In their order; names in any case; the lines that they were given stay as they are."""
    before = list(LINES)
    expected = [b"X-A: 1", b"X-a: 3", b"X_A: 4", b"X-C: 1", b"X-C: 2"] if expected is None else expected
    assert for_responses(*rules).applied(before) == expected
    assert before == LINES


def test_request_rules_know_both_spellings() -> None:
    """An upstream behind CGI or WSGI would read the client's X_Remote_User as the X-Remote-User that the rule sets."""
    lines = [b"X_Remote-User: root", b"x-remote_user: root", b"X-Remote-User: root", b"X-Remote: a"]
    assert for_requests(rule("set", "X-Remote-User", "bob")).applied(lines) == [b"X-Remote: a", b"X-Remote-User: bob"]
    assert for_requests(rule("remove", "x_remote_user")).applied(lines) == [b"X-Remote: a"]


def test_what_is_set_or_removed_is_spared_as_no_trailer() -> None:
    """It would come back behind the rule; what a rule adds to may stay."""
    rules = for_requests(rule("set", "X-A", "1"), rule("remove", "X-B"), rule("add", "X-C", "1"))
    assert rules.spared([b"x_a: 2", b"X-B: 2", b"X-C: 2", b"X-D: 2"]) == [b"X-C: 2", b"X-D: 2"]


def test_own_answers_take_what_is_set_and_added_but_their_own_fields() -> None:
    """Security fields are on a 502 too; a rule that makes pages cacheable does not make it cacheable."""
    rules = for_responses(
        rule("set", "X-Frame-Options", "DENY"),
        rule("set", "Cache-Control", "public"),
        rule("set", "Strict-Transport-Security", "max-age=1"),
        rule("remove", "Server"),
        rule("add", "content-type", "text/html"),
    )
    assert own_fields(rules) == (b"X-Frame-Options: DENY",)
    assert own_fields(None) == ()


@pytest.mark.parametrize("action", ["set", "add", "remove"])
@pytest.mark.parametrize(
    "name",
    ["Content-Length", "transfer-encoding", "Connection", "TE", "Trailer", "Upgrade", "Keep-Alive", "Content_Length"],
)
def test_what_frames_the_message_is_refused(action: str, name: str) -> None:
    """Whatever the rule would do with it; in the spelling too that an upstream takes for it."""
    for rules in (request_rules, response_rules):
        with pytest.raises(RuleRefused, match=f"header rule for {name}, which frames or routes the message"):
            rules([rule("add", "X", "1"), rule(action, name, "1")])


@pytest.mark.parametrize("name", ["Host", "host", "Expect", "HTTP2-Settings"])
def test_what_routes_the_request_is_refused(name: str) -> None:
    """Host has a switch of its own."""
    with pytest.raises(RuleRefused, match="frames or routes"):
        request_rules([rule("set", name, "1")])


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\r\nb", "a\0", "caf\xe9", "(a)", " a", "a "])
def test_name_that_is_no_token_is_refused(name: str) -> None:
    """It would be another field, or none."""
    with pytest.raises(RuleRefused, match="which is no field name"):
        response_rules([rule("remove", name)])


@pytest.mark.parametrize("value", ["a\r\nHost: evil", "a\nb", "a\rb", "a\0b", "a\x7fb", "\x0b"])
def test_value_with_a_control_character_is_refused(value: str) -> None:
    """It would be a second field, or the end of the head; the value itself is not repeated."""
    with pytest.raises(RuleRefused, match=r"^header rule for X-A with a control character in its value$"):
        request_rules([rule("set", "X-A", value)])


def test_unknown_action_is_refused() -> None:
    """Of a control plane that knows more than this worker."""
    with pytest.raises(RuleRefused, match="unknown action 'rename'"):
        request_rules([rule("rename", "X-A")])
