"""payloads: the form of each kind of channel, in which nobody's text formats anything or mentions anybody."""

import json
from typing import Any

import pytest

from aegis_site.kernel.notifications import payloads
from aegis_site.kernel.notifications.composing import Note, compose
from tests.aegis_site.kernel.notifications.examples import NOW, noted

EVIL = "<!channel> @everyone [x](https://evil) **b** `c` <@123> & é"
ADMIN = "https://aegis.example.com"


def evil_note() -> Note:
    return compose([noted(title=EVIL, text=EVIL, path="/admin/x/")], public_url=ADMIN)


def long_note() -> Note:
    events = [noted(subject=f"u:{number}", title="*" * 255, text="_" * 1000) for number in range(50)]
    return compose(events, public_url="")


def document(body: bytes) -> Any:
    return json.loads(body)


def test_slack_escapes_and_mentions_nobody() -> None:
    """The three characters of its rules, and the sign behind which Mattermost looks for names."""
    sent = document(payloads.slack(evil_note(), site_name="Aegis"))
    [attachment] = sent["attachments"]
    for text in (sent["text"], attachment["title"], attachment["text"], attachment["fallback"]):
        assert "<" not in text
        assert "@everyone" not in text
        assert "&lt;!channel&gt; @\u200beveryone" in text
    assert (attachment["title_link"], attachment["mrkdwn_in"], sent["mrkdwn"]) == (f"{ADMIN}/admin/x/", [], False)


def test_discord_escapes_and_mentions_nobody() -> None:
    """All of its Markdown; and it is told to look for no mention."""
    sent = document(payloads.discord(evil_note(), site_name="Aegis"))
    [embed] = sent["embeds"]
    assert sent["allowed_mentions"] == {"parse": []}
    assert embed["title"].startswith(r"\<!channel\> \@everyone \[x\]\(https\://evil\) \*\*b\*\* \`c\`")
    assert embed["url"] == f"{ADMIN}/admin/x/"


def test_teams_has_text_without_markdown() -> None:
    """An adaptive card of text runs, which show what they hold."""
    sent = document(payloads.teams(evil_note(), site_name="Aegis"))
    card = sent["attachments"][0]["content"]
    assert (sent["type"], card["type"]) == ("message", "AdaptiveCard")
    assert {block["type"] for block in card["body"]} == {"RichTextBlock"}
    assert card["body"][0]["inlines"][0]["text"] == EVIL
    assert card["actions"] == [{"type": "Action.OpenUrl", "title": "Open in Aegis", "url": f"{ADMIN}/admin/x/"}]


def test_ntfy_has_priority_tags_and_a_link() -> None:
    """As it is published in JSON, at the address above the topic."""
    assert payloads.ntfy_place("https://ntfy.example.com/a/topic") == ("https://ntfy.example.com/a/", "topic")
    sent = document(payloads.ntfy(evil_note(), site_name="Aegis", topic="topic"))
    assert (sent["topic"], sent["priority"], sent["tags"]) == ("topic", 4, ["warning"])
    assert (sent["title"], sent["click"]) == (f"Aegis: {EVIL}", f"{ADMIN}/admin/x/")


def test_a_webhook_says_everything() -> None:
    """As type, timestamp and data, which Standard Webhooks asks for."""
    event = noted(details={"Code": "expired"}, path="/admin/x/")
    sent = document(payloads.webhook(compose([event], public_url=ADMIN), [event], site_name="Aegis", at=NOW))
    assert (sent["type"], sent["timestamp"]) == ("aegis.notification", NOW.isoformat())
    assert sent["data"]["events"] == [
        {
            "kind": "upstream_down",
            "subject": "upstream:1",
            "group": event.group,
            "title": "Upstream a:1 is down",
            "text": "",
            "details": {"Code": "expired"},
            "at": NOW.isoformat(),
            "since": None,
        }
    ]


def test_a_mail_has_a_line_as_subject() -> None:
    """And the links at its end."""
    subject, text = payloads.mail(evil_note())
    assert subject == EVIL
    assert text.endswith(f"{EVIL}: {ADMIN}/admin/x/\n")
    assert len(payloads.mail(long_note())[0]) == 200


@pytest.mark.parametrize("kind", ["slack", "discord", "teams", "ntfy"])
def test_what_is_long_is_cut(kind: str) -> None:
    """To what each service takes; a message that is too long would be refused whole."""
    note = long_note()
    more = {"topic": "t"} if kind == "ntfy" else {}
    sent = document(getattr(payloads, kind)(note, site_name="n" * 100, **more))
    if kind == "discord":
        assert len(sent["embeds"][0]["title"]) <= 256
        assert len(sent["embeds"][0]["description"]) <= 4096
    elif kind == "ntfy":
        assert len(sent["message"].encode()) <= 4096
    else:
        assert len(json.dumps(sent)) < 28_000


def test_no_link_hides_where_it_leads() -> None:
    """Mattermost takes Markdown in what Slack shows as it is."""
    assert "](" not in payloads.slack(evil_note(), site_name="[a](https://evil)").decode()
