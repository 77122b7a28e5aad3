"""A message in the form of each kind of channel.

Laws of this module: pure. Texts come from whoever names hosts, and from certificates of upstreams: none of them formats
anything or mentions anybody. What a service takes is bounded here, because a message that is too long is refused whole.
"""

import datetime
import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from aegis_site.kernel.notifications.composing import Line, Note
from aegis_site.kernel.notifications.kinds import Severity
from aegis_site.kernel.notifications.models import NotedEvent

_COLOURS = {Severity.CRITICAL: "#b91c1c", Severity.WARNING: "#d97706", Severity.GOOD: "#15803d"}
_TEAMS_COLOURS = {Severity.CRITICAL: "attention", Severity.WARNING: "warning", Severity.GOOD: "good"}
_NTFY = {
    # https://docs.ntfy.sh/publish/: priorities from 1 to 5, of which 3 is usual; names of emoji are tags.
    Severity.CRITICAL: (5, "rotating_light"),
    Severity.WARNING: (4, "warning"),
    Severity.GOOD: (3, "white_check_mark"),
}

_DISCORD_MARKDOWN = re.compile(r"([\\*_~`|>#\-+\[\]()<:@])")
_ZERO_WIDTH_SPACE = "\u200b"


def webhook(note: Note, events: Iterable[NotedEvent], *, site_name: str, at: datetime.datetime) -> bytes:
    """Standard Webhooks: `type`, `timestamp`, `data`."""
    document = {
        "type": "aegis.notification",
        "timestamp": at.isoformat(),
        "data": {
            "installation": site_name,
            "title": note.title,
            "severity": str(note.severity),
            "url": note.url,
            "events": [_event(event) for event in events],
        },
    }
    return _json(document)


def _event(event: NotedEvent) -> dict[str, Any]:
    return {
        "kind": str(event.kind),
        "subject": event.subject,
        "group": event.group,
        "title": event.title,
        "text": event.text,
        "details": event.details,
        "at": event.at.isoformat(),
        "since": event.since.isoformat() if event.since else None,
    }


def slack(note: Note, *, site_name: str) -> bytes:
    """An attachment with a coloured bar, which Mattermost and Rocket.Chat take as well."""
    title = _slack_text(_clipped(note.title, 250))
    attachment = {
        "color": _COLOURS[note.severity],
        "fallback": title,
        "title": title,
        "text": _slack_text(_clipped(note.body, 6000)),
        "footer": _slack_text(_clipped(site_name, 100)),
        # Nothing in it is formatted.
        "mrkdwn_in": [],
        **({"title_link": note.url} if note.url else {}),
    }
    return _json({"text": title, "mrkdwn": False, "attachments": [attachment]})


def _slack_text(text: str) -> str:
    """https://api.slack.com/reference/surfaces/formatting#escaping: with these three, no mention and no link is left.

    Mattermost looks for names behind `@`, and for Markdown's links, in plain text too.
    """
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return escaped.replace("@", f"@{_ZERO_WIDTH_SPACE}").replace("](", f"]{_ZERO_WIDTH_SPACE}(")


def discord(note: Note, *, site_name: str) -> bytes:
    """An embed, which mentions nobody."""
    embed = {
        "title": _fitting(note.title, 256),
        "description": _fitting(note.body, 4096),
        "color": int(_COLOURS[note.severity].removeprefix("#"), 16),
        "footer": {"text": _clipped(site_name, 100)},
        **({"url": note.url} if note.url else {}),
    }
    return _json({"embeds": [embed], "allowed_mentions": {"parse": []}})


def _fitting(text: str, limit: int) -> str:
    """Escaped, and not cut in the middle of an escape."""
    escaped = _DISCORD_MARKDOWN.sub(r"\\\1", text)
    while len(escaped) > limit:
        text = _clipped(text, len(text) - max(1, (len(escaped) - limit) // 2))
        escaped = _DISCORD_MARKDOWN.sub(r"\\\1", text)
    return escaped


def teams(note: Note, *, site_name: str) -> bytes:
    """An adaptive card for a workflow's webhook. Text runs know no Markdown."""

    def run(text: str, **style: Any) -> dict[str, Any]:
        return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text, **style}]}

    title = run(_clipped(note.title, 250), size="medium", weight="bolder", color=_TEAMS_COLOURS[note.severity])
    body = [run(_clipped(part, 2000)) for part in note.body.split("\n\n")]
    footer = run(_clipped(site_name, 100), size="small", isSubtle=True)
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [title, *body[:10], footer],
        **({"actions": [{"type": "Action.OpenUrl", "title": "Open in Aegis", "url": note.url}]} if note.url else {}),
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return _json({"type": "message", "attachments": [attachment]})


def ntfy(note: Note, *, site_name: str, topic: str) -> bytes:
    """https://docs.ntfy.sh/publish/#publish-as-json; it shows text as it is. A message has at most 4096 bytes."""
    priority, tag = _NTFY[note.severity]
    document = {
        "topic": topic,
        "title": _clipped(f"{site_name}: {note.title}", 250),
        "message": note.body.encode()[:4000].decode("utf-8", "ignore"),
        "priority": priority,
        "tags": [tag],
        **({"click": note.url} if note.url else {}),
    }
    return _json(document)


def ntfy_place(url: str) -> tuple[str, str]:
    """Where JSON is sent, and the topic: the last part of the path."""
    parts = urlsplit(url)
    root, _, topic = parts.path.rpartition("/")
    return urlunsplit((parts.scheme, parts.netloc, f"{root}/", "", "")), topic


def mail(note: Note) -> tuple[str, str]:
    """Subject and text."""
    links = [f"{line.title}: {line.url}" for line in _linked(note)]
    return _clipped(note.title, 200), "\n\n".join([note.title, note.body, *links]) + "\n"


def _linked(note: Note) -> list[Line]:
    return [line for line in note.lines if line.url][:20]


def _clipped(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _json(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode()
