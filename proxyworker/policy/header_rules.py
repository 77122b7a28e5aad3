"""A host's own rules for the fields of its requests and responses.

Laws of this module:
- Rules are compiled when a host is built. One that would frame the message, route it, or smuggle a second line into it
  is refused then, and the host with it: `RuleRefused` says which and why. Nothing is checked per request.
- They are applied in order, behind everything that the worker does by itself; HSTS alone comes after them.
- For requests `X_Name` and `X-Name` are one name. CGI and WSGI tell an upstream both as the same one, so a rule that
  drops what only this proxy may say would not be kept otherwise.
- What a rule sets or removes does not come back as a trailer either: many upstreams merge those into the fields.
"""

from collections.abc import Callable, Iterable, Sequence

from proxyworker.protocol.fields import HOP_BY_HOP, cgi_name, field_name, is_field_name, is_field_value
from proxyworker.snapshot import HeaderRule

NOT_FOR_RESPONSES = HOP_BY_HOP | {b"content-length"}
# Host has a switch of its own; Expect and HTTP2-Settings are agreements between a client and the worker.
NOT_FOR_REQUESTS = NOT_FOR_RESPONSES | {b"host", b"expect", b"http2-settings"}

# What the worker's own answers say themselves. A rule that makes a host's pages cacheable must not make its 502 so.
_OWN_ANSWERS_FIELDS = frozenset(
    (b"cache-control", b"content-type", b"location", b"retry-after", b"strict-transport-security", b"x-request-id")
)


class RuleRefused(ValueError):
    """A rule that cannot be applied. The text says which and why."""


class HeaderRules:
    """Rules ready to be applied. A step is the name whose lines are dropped, and the line that is added, or nothing."""

    __slots__ = ("_name_of", "_steps")

    def __init__(self, steps: Sequence[tuple[bytes, bytes]], name_of: Callable[[bytes], bytes]) -> None:
        self._steps = tuple(steps)
        self._name_of = name_of

    def applied(self, lines: Iterable[bytes]) -> list[bytes]:
        """The field lines as they are after all rules."""
        name_of = self._name_of
        changed = list(lines)
        for dropped, added in self._steps:
            if dropped:
                changed = [line for line in changed if name_of(line) != dropped]
            if added:
                changed.append(added)
        return changed

    def spared(self, trailers: Iterable[bytes]) -> list[bytes]:
        """The trailer lines that no rule sets or removes."""
        names = {dropped for dropped, _ in self._steps}
        return [line for line in trailers if self._name_of(line) not in names]


def request_rules(rules: Sequence[HeaderRule]) -> HeaderRules | None:
    """The rules for what goes to the upstreams; None: there are none. Raises RuleRefused."""
    return _compiled(rules, cgi_name, NOT_FOR_REQUESTS) if rules else None


def response_rules(rules: Sequence[HeaderRule]) -> HeaderRules | None:
    """The rules for what goes to the clients; None: there are none. Raises RuleRefused."""
    return _compiled(rules, field_name, NOT_FOR_RESPONSES) if rules else None


def own_fields(rules: HeaderRules | None) -> tuple[bytes, ...]:
    """What the rules for responses make of the worker's own answers for a host: the fields that they add to those."""
    if rules is None:
        return ()
    return tuple(line for line in rules.applied(()) if field_name(line) not in _OWN_ANSWERS_FIELDS)


def _compiled(
    rules: Sequence[HeaderRule], name_of: Callable[[bytes], bytes], forbidden: frozenset[bytes]
) -> HeaderRules:
    return HeaderRules([_step(rule, name_of, forbidden) for rule in rules], name_of)


def _step(rule: HeaderRule, name_of: Callable[[bytes], bytes], forbidden: frozenset[bytes]) -> tuple[bytes, bytes]:
    name, value = rule.name.encode(), rule.value.encode().strip(b" \t")
    if rule.action not in ("set", "add", "remove"):
        raise RuleRefused(f"header rule with the unknown action {rule.action!r}")
    if is_field_name(name) is None:
        raise RuleRefused(f"header rule for {rule.name!r}, which is no field name")
    # A name that an upstream takes for a forbidden one is as bad as that.
    if cgi_name(name) in forbidden:
        raise RuleRefused(f"header rule for {rule.name}, which frames or routes the message")
    if is_field_value(value) is None:
        raise RuleRefused(f"header rule for {rule.name} with a control character in its value")
    dropped = b"" if rule.action == "add" else name_of(name)
    return dropped, b"" if rule.action == "remove" else name + b": " + value
