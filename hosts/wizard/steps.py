"""The steps in which a new host is set up, in their order, and where a host stands among them.

Laws of this module:
- Between two steps there is nothing but the stored host, which is off until the last one (docs/adr/0044). So whether a
  step can be taken follows from the host alone, and every page can be reloaded, left and come back to.
- No query for a host `with_configuration`.
"""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from hosts.models import ConnectionTest, Host, Scheme, Upstream

# A host that is off and younger than this is taken for one that somebody is setting up.
BEING_SET_UP_FOR = datetime.timedelta(days=1)


class Step(StrEnum):
    """One page; the value stands in its address."""

    DOMAINS = "domains"
    UPSTREAMS = "upstreams"
    CHECK = "check"
    CERTIFICATE = "certificate"
    SERVER = "server"
    TEST = "test"
    LIVE = "live"


# In the list of all, and at the head of its page.
TITLES = {
    Step.DOMAINS: "Domains",
    Step.UPSTREAMS: "Upstream",
    Step.CHECK: "Check",
    Step.CERTIFICATE: "Certificate",
    Step.SERVER: "Upstream's side",
    Step.TEST: "Test",
    Step.LIVE: "Live",
}
HEADINGS = TITLES | {
    Step.CHECK: "What the upstream wants",
    Step.CERTIFICATE: "The client certificate",
    Step.SERVER: "What the upstream needs",
    Step.TEST: "Whether the upstream takes it",
}


class Mark(StrEnum):
    """How a step is shown. CLOSED: something else comes first; SKIPPED: this host does not need it."""

    DONE = "done"
    CURRENT = "current"
    OPEN = "open"
    SKIPPED = "skipped"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepMark:
    """A step in the list of all; `is_link`: whether its page can be opened from there."""

    step: Step
    title: str
    mark: Mark
    is_link: bool


def tls_upstreams(host: Host) -> list[Upstream]:
    """Those that a connection test can try."""
    return [upstream for upstream in host.upstreams.all() if upstream.enabled and upstream.scheme == Scheme.HTTPS]


def is_being_set_up(host: Host, *, now: datetime.datetime) -> bool:
    """Whether a list says so of a host. No query."""
    return not host.enabled and now - host.created_at < BEING_SET_UP_FOR


def is_needed(step: Step, host: Host) -> bool:
    """Whether this host has anything to do there, as far as can be told by now."""
    match step:
        case Step.CHECK | Step.CERTIFICATE | Step.TEST:
            return bool(tls_upstreams(host)) or not has_upstream(host)
        case Step.SERVER:
            return bool(tls_upstreams(host)) and host.upstream_configuration.enabled
    return True


def can_be_taken(step: Step, host: Host | None) -> bool:
    """Whether what comes before it is there. A host that is live has nothing before its last step any more."""
    if host is None:
        return step is Step.DOMAINS
    if host.enabled:
        return step is Step.LIVE
    return step in (Step.DOMAINS, Step.UPSTREAMS) or has_upstream(host)


def following(step: Step, host: Host) -> Step:
    """The next one that this host needs."""
    order = list(Step)
    return next((later for later in order[order.index(step) + 1 :] if is_needed(later, host)), Step.LIVE)


def marks(current: Step, host: Host | None) -> list[StepMark]:
    """All steps, as the page of `current` lists them."""
    return [
        StepMark(
            step=step,
            title=TITLES[step],
            mark=_mark(step, current, host),
            is_link=step is not current and can_be_taken(step, host) and host is not None,
        )
        for step in Step
    ]


def first_open(host: Host, tests: Sequence[ConnectionTest]) -> Step:
    """Where to go on with a host; `tests` are its latest ones."""
    if host.enabled:
        return Step.LIVE
    if not has_upstream(host):
        return Step.UPSTREAMS
    if not tls_upstreams(host) or works(host, tests):
        return Step.LIVE
    if not tests or not host.upstream_configuration.enabled:
        return Step.CHECK
    return Step.TEST


def is_current(host: Host, tests: Sequence[ConnectionTest]) -> bool:
    """Whether these tests were of the host as it is now."""
    return bool(tests) and all(test.is_of_saved_host and test.created_at >= host.updated_at for test in tests)


def works(host: Host, tests: Sequence[ConnectionTest]) -> bool:
    """Whether the host as it is now got an answer from every upstream that was tried."""
    return is_current(host, tests) and all(test.success for test in tests)


def has_upstream(host: Host) -> bool:
    """Whether there is anything behind it."""
    return any(upstream.enabled for upstream in host.upstreams.all())


def _mark(step: Step, current: Step, host: Host | None) -> Mark:
    if step is current:
        return Mark.CURRENT
    order = list(Step)
    is_past = order.index(step) < order.index(current)
    # Whether the upstream has anything to do is known when the certificate is chosen.
    is_known = step is not Step.SERVER or order.index(current) > order.index(Step.CERTIFICATE)
    if host is not None and has_upstream(host) and is_known and not is_needed(step, host):
        return Mark.SKIPPED
    if is_past:
        return Mark.DONE
    return Mark.OPEN if can_be_taken(step, host) else Mark.CLOSED
