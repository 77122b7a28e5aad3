"""validators: what channels may be made of."""

import base64

import pytest
from django.core.exceptions import ValidationError

from aegis_site.kernel.notifications.validators import (
    clean_url,
    shown_url,
    signing_key,
    validate_events,
    validate_time_zone,
    validate_token,
    validate_topic,
)


@pytest.mark.parametrize(
    "url", ["https://hooks.example.com/a?b=c", "http://10.0.0.7:8080/x", "https://[::1]:9/x", " https://a/ "]
)
def test_addresses(url: str) -> None:
    """With names and addresses, ports and queries."""
    assert clean_url(url, needs_tls=False) == url.strip()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example.com",
        "ftp://a/",
        "file:///etc/passwd",
        "https:///x",
        "https://a b/",
        "https://a/\nHost: b",
        "https://a:port/",
        "https://ä.example/",
        "https://user:secret-3a@a/",
        "https://a/#secret-3a",
        "https://a/" + "x" * 2000,
        "https://[::1/",
        "https://a:99999/",
    ],
)
def test_what_is_no_address(url: str) -> None:
    """Is refused without being repeated: it may be a secret all the same."""
    with pytest.raises(ValidationError) as error:
        clean_url(url, needs_tls=False)
    assert "secret-3a" not in str(error.value)


def test_what_is_secret_goes_over_tls() -> None:
    """http only where nothing secret is sent."""
    with pytest.raises(ValidationError, match="Only https"):
        clean_url("http://a/", needs_tls=True)


def test_of_an_address_the_host_is_shown() -> None:
    """Path and query are the secret of most services."""
    assert shown_url("https://hooks.example.com:8443/services/T0/B0?token=x") == "https://hooks.example.com:8443/…"


@pytest.mark.parametrize("size", [24, 64])
def test_signing_secrets(size: int) -> None:
    """As Standard Webhooks writes them."""
    assert signing_key(f"whsec_{base64.b64encode(b'k' * size).decode()}") == b"k" * size


@pytest.mark.parametrize("text", ["", "secret", "whsec_!!!!", "whsec_" + "YQ==", "whsec_" + "YWFh" * 40, "whsec_é"])
def test_what_is_no_signing_secret(text: str) -> None:
    """Short ones can be guessed."""
    with pytest.raises(ValidationError):
        signing_key(text)


def test_topics_and_tokens() -> None:
    """A topic is the last part of the path; a token stands in a header field."""
    validate_topic("https://ntfy.sh/my-topic")
    validate_topic("https://a/ntfy/my_topic")
    validate_token("tk_abc")
    for url in ("https://ntfy.sh/", "https://ntfy.sh/a b", "https://ntfy.sh/t?x=1", "https://ntfy.sh"):
        with pytest.raises(ValidationError):
            validate_topic(url)
    for token in ("a b", "a\nb", "é", ""):
        with pytest.raises(ValidationError):
            validate_token(token)


def test_events_and_zones() -> None:
    """Kinds that exist, once each; zones of the IANA database."""
    validate_events(["upstream_down"])
    validate_time_zone("Europe/Berlin")
    for events in ("upstream_down", ["x"], ["upstream_up", "upstream_up"], [[]]):
        with pytest.raises(ValidationError):
            validate_events(events)
    for zone in ("", "Mars/Olympus", "../../etc/passwd"):
        with pytest.raises(ValidationError):
            validate_time_zone(zone)
