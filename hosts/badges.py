"""Short coloured words about a host, for lists and headings."""

import functools
from collections.abc import Iterable

from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from hosts.models import Host


@functools.lru_cache(maxsize=256)
def badge(text: str, kind: str) -> SafeString:
    """One badge; `kind` is success, warning, danger or info. A list has the same few in every row."""
    return render_to_string("upstream_tls/badge.html", {"text": text, "kind": kind})


def badges(items: Iterable[SafeString]) -> SafeString:
    """Several badges in a row, wrapping where there is no room."""
    return format_html_join(" ", "{}", ((item,) for item in items))


def host_badges(host: Host, *, refused_because: str = "", has_failed_lately: bool = False) -> list[SafeString]:
    """What an operator must see at once: mTLS, missing verification, and that a host cannot be served."""
    configuration = host.upstream_configuration
    shown = []
    if refused_because:
        shown.append(badge("Refused", "danger"))
    if has_failed_lately:
        shown.append(badge("Upstream failure", "warning"))
    if configuration.is_verification_skipped(timezone.now()):
        until = configuration.skip_verify_until
        shown.append(badge(f"TLS not verified until {until:%Y-%m-%d}" if until else "TLS not verified", "warning"))
    if configuration.enabled:
        shown.append(badge("mTLS", "success"))
    return shown
