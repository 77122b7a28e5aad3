"""What a generated channel or maintenance window lacks to be accepted; the laws are those of `valid_documents`."""

from typing import Any

from aegis_site.kernel.notifications.models import Channel
from tests.aegis_site.kernel.notifications.examples import SIGNING_SECRET
from tests.support.valid_documents import Body, first_host, one_of

_HOOKS = ("https://hooks.example.com/services/1?token=2", "https://[2001:db8::7]:8443/")
_TOPICS = ("https://ntfy.sh/aegis", "https://ntfy.example.com:8443/below/topic-1")
_TOKENS = ("", "tk_a-token")

# By kind: its addresses, and its secrets.
_PLACES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "webhook": ((*_HOOKS, "http://10.0.0.7/"), (SIGNING_SECRET,)),
    "slack": (_HOOKS, ("",)),
    "discord": (_HOOKS, ("",)),
    "teams": (_HOOKS, ("",)),
    "ntfy": (_TOPICS, _TOKENS),
    "mail": ((), ("",)),
}
_QUIET_HOURS = ((None, None), ("22:00", "07:00:30"), ("06:30:00", "18:00"))
_TIMES = (
    ("2026-05-04T12:00:00Z", "2026-05-04T12:00:01+00:00"),
    ("2026-05-04T12:00:00+02:00", "2027-01-01T00:00:00.5Z"),
)


def make_channel_valid(body: Body, number: int) -> None:
    """A new one."""
    if body["kind"] != "mail":
        body.setdefault("url", "")
    if body["kind"] == "webhook":
        body.setdefault("secret", "")
    _make_fit(body, body["kind"], number)


def make_channel_change_valid(body: Body, ids: Body, number: int) -> None:
    """Of a stored one, which stays of its kind."""
    kind = Channel.objects.filter(pk=ids["id"]).values_list("kind", flat=True).first() or "webhook"
    if "kind" in body:
        body["kind"] = kind
    if "url" in body:
        # A token was for the address that was set before.
        body.setdefault("secret", "")
    _make_fit(body, kind, number)


def _make_fit(body: Body, kind: str, number: int) -> None:
    addresses, secrets = _PLACES[kind]
    choices: dict[str, tuple[Any, ...]] = {
        "name": (f"channel {number}",),
        "url": addresses,
        "secret": secrets,
        "recipients": ([], ["ops@example.com", "oncall@example.com"]) if kind == "mail" else ([],),
        "time_zone": ("UTC", "Europe/Berlin"),
    }
    if kind == "mail":
        body.pop("url", None)
    body |= {name: one_of(choice, number) for name, choice in choices.items() if name in body}
    if body.keys() & {"quiet_from", "quiet_to"}:
        body["quiet_from"], body["quiet_to"] = one_of(_QUIET_HOURS, number)


def make_window_valid(body: Body, number: int) -> None:
    """A new one."""
    body.setdefault("hosts", [])
    make_window_change_valid(body, number)


def make_window_change_valid(body: Body, number: int) -> None:
    """Of a stored one."""
    if "name" in body:
        body["name"] = f"window {number}"
    if body.keys() & {"begins_at", "ends_at"}:
        body["begins_at"], body["ends_at"] = one_of(_TIMES, number)
    if body.keys() & {"hosts", "whole_site"}:
        is_whole = body["whole_site"] = bool(body.get("whole_site"))
        body["hosts"] = [] if is_whole else [str(first_host().pk)]
