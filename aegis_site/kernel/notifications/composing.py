"""What a message says: a title, and a line for each thing that happened.

Laws of this module: pure; plain text, which `payloads` makes safe for each kind of channel. Of a subject there is one
line, however often it came and went.
"""

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aegis_site.kernel.notifications.kinds import ENDS, EventKind, Severity, severity_of
from aegis_site.kernel.notifications.models import NotedEvent

MAX_LINES = 20
_ORDER = (Severity.CRITICAL, Severity.WARNING, Severity.GOOD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What there is to say of one subject."""

    title: str
    text: str
    details: tuple[tuple[str, str], ...]
    severity: Severity
    at: datetime.datetime
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A message before it has the form of a channel. `url` leads to the page of its title, and may be empty."""

    title: str
    lines: tuple[Line, ...]
    severity: Severity
    url: str

    @property
    def body(self) -> str:
        """All but the title, as plain text."""
        parts = []
        for line in self.lines[:MAX_LINES]:
            rows = [line.title] if len(self.lines) > 1 else []
            rows += [line.text] if line.text else []
            rows += [f"{label}: {value}" for label, value in line.details]
            rows.append(f"{line.at.astimezone(datetime.UTC):%Y-%m-%d %H:%M:%S} UTC")
            parts.append("\n".join(rows))
        if (left := len(self.lines) - MAX_LINES) > 0:
            parts.append(f"And {left} more.")
        return "\n\n".join(parts)


def compose(events: Iterable[NotedEvent], *, public_url: str) -> Note:
    """The message about these events, of which there is at least one."""
    histories: dict[tuple[str, str], list[NotedEvent]] = {}
    for event in sorted(events, key=lambda event: (event.at, event.pk or 0)):
        kind = EventKind(event.kind)
        histories.setdefault((ENDS.get(kind, kind), event.subject), []).append(event)
    lines = [_line(history, public_url) for history in histories.values()]
    lines.sort(key=lambda line: _ORDER.index(line.severity))
    more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
    first = lines[0]
    return Note(title=f"{first.title}{more}", lines=tuple(lines), severity=first.severity, url=first.url)


def _line(history: Sequence[NotedEvent], public_url: str) -> Line:
    last = history[-1]
    title = last.title
    beginnings = [event for event in history if event.kind not in ENDS]
    if len(beginnings) > 1:
        title += f": {len(beginnings)} times in {duration(last.at - history[0].at)}"
    elif last.since is not None and last.kind in ENDS:
        title += f", after {duration(last.at - last.since)}"
    elif last.since is not None:
        title += f", for {duration(last.at - last.since)} now"
    return Line(
        title=title,
        text=last.text,
        details=tuple(last.details.items()),
        severity=severity_of(EventKind(last.kind)),
        at=last.at,
        url=f"{public_url}{last.path}" if public_url and last.path else "",
    )


def duration(length: datetime.timedelta) -> str:
    """As a person says it, in two units at most."""
    left = max(0, round(length.total_seconds()))
    parts = []
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"
