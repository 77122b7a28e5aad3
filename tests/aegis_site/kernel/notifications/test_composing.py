"""composing: what a message says."""

import datetime

import pytest

from aegis_site.kernel.notifications.composing import MAX_LINES, compose, duration
from aegis_site.kernel.notifications.kinds import EventKind, Severity
from tests.aegis_site.kernel.notifications.examples import NOW, at, noted

UP = EventKind.UPSTREAM_UP
ADMIN = "https://aegis.example.com"


def test_one_event_is_its_own_title() -> None:
    """With its text, its details, its time, and a link to its page."""
    event = noted(text="Nobody listens.", details={"Code": "connection_refused"}, path="/admin/x/")
    note = compose([event], public_url=ADMIN)
    assert (note.title, note.url, note.severity) == (
        "Upstream a:1 is down",
        "https://aegis.example.com/admin/x/",
        Severity.WARNING,
    )
    assert note.body == "Nobody listens.\nCode: connection_refused\n2026-05-04 12:00:00 UTC"


def test_without_a_public_url_there_is_no_link() -> None:
    """Aegis does not know where it is found."""
    assert compose([noted(path="/admin/x/")], public_url="").url == ""


def test_an_end_refers_to_the_beginning() -> None:
    """By how long it was."""
    note = compose([noted(UP, title="Upstream a:1 is up again", since=NOW, at=at(seconds=250))], public_url="")
    assert note.title == "Upstream a:1 is up again, after 4 min 10 s"


def test_a_reminder_says_since_when() -> None:
    """It is no second failure."""
    assert compose([noted(since=NOW, at=at(hours=25))], public_url="").title == "Upstream a:1 is down, for 1 d 1 h now"


def test_flaps_are_one_line() -> None:
    """How often, in how long."""
    events = [noted(at=at(minutes=minute)) for minute in range(7)]
    events += [noted(UP, title="up", at=at(minutes=minute, seconds=30)) for minute in range(6)]
    note = compose([*events, noted(UP, title="Upstream a:1 is up again", at=at(minutes=10))], public_url="")
    assert note.title == "Upstream a:1 is up again: 7 times in 10 min"


def test_the_worst_comes_first() -> None:
    """And gives the message its title."""
    events = [
        noted(),
        noted(EventKind.HOST_WITHOUT_UPSTREAM, subject="host:1", title="orders has none", at=at(seconds=1)),
    ]
    note = compose(events, public_url="")
    assert (note.title, note.severity) == ("orders has none (and 1 more)", Severity.CRITICAL)
    assert note.body.index("orders has none") < note.body.index("Upstream a:1 is down")


def test_a_message_has_an_end() -> None:
    """However much happens in a night."""
    note = compose([noted(subject=f"upstream:{number}") for number in range(500)], public_url="")
    assert note.body.count("is down") == MAX_LINES
    assert note.body.endswith(f"And {500 - MAX_LINES} more.")


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0 s"), (0.4, "0 s"), (59.6, "1 min"), (61, "1 min 1 s"), (90_061, "1 d 1 h")]
)
def test_durations(seconds: float, text: str) -> None:
    """In two units at most."""
    assert duration(datetime.timedelta(seconds=seconds)) == text
