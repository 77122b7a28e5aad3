"""Short coloured words about a host, for lists and headings."""

import functools
from collections.abc import Iterable

from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from hosts.models import Host, Scheme
from hosts.status import HostStatus
from hosts.wizard.steps import is_being_set_up


@functools.lru_cache(maxsize=256)
def badge(text: str, kind: str) -> SafeString:
    """One badge; `kind` is success, warning, danger or info. A list has the same few in every row."""
    return render_to_string("upstream_tls/badge.html", {"text": text, "kind": kind})


_STATUS = {
    HostStatus.UP: ("check_circle", "The checks find its upstreams well."),
    HostStatus.DEGRADED: ("warning", "Some upstreams fail their checks, or failed requests in the last minutes."),
    HostStatus.DOWN: ("error", "No upstream takes requests, or a worker refuses the configuration."),
    HostStatus.UNCHECKED: ("help", "No check says how its upstreams are."),
    HostStatus.DISABLED: ("pause_circle", "It is not served."),
}


@functools.cache
def status_badge(status: HostStatus) -> SafeString:
    """How a host stands: a word with an icon, and why in its tooltip."""
    icon, why = _STATUS[status]
    context = {"name": status.name.lower(), "icon": icon, "why": why, "text": str(status.label)}
    return SafeString(render_to_string("hosts/status_badge.html", context).strip())


def badges(items: Iterable[SafeString]) -> SafeString:
    """Several badges in a row, wrapping where there is no room."""
    return format_html_join(" ", "{}", ((item,) for item in items))


def host_badges(host: Host, *, refused_because: str = "", has_failed_lately: bool = False) -> list[SafeString]:
    """What an operator must see at once: mTLS, verification, and why a host is not served."""
    configuration = host.upstream_configuration
    shown = []
    if is_being_set_up(host, now=timezone.now()):
        shown.append(badge("Being set up", "info"))
    if refused_because:
        shown.append(badge("Refused", "danger"))
    if has_failed_lately:
        shown.append(badge("Upstream failure", "warning"))
    if configuration.is_verification_skipped(timezone.now()):
        until = configuration.skip_verify_until
        shown.append(badge(f"TLS not verified until {until:%Y-%m-%d}" if until else "TLS not verified", "warning"))
    elif verified_by := _verified_by(host):
        shown.append(badge(verified_by, "info"))
    if configuration.enabled:
        shown.append(badge("mTLS", "success"))
    return shown


def _verified_by(host: Host) -> str:
    """What verifies the upstreams' certificates; nothing is said of a host without upstreams."""
    schemes = {upstream.scheme for upstream in host.upstreams.all()}
    if schemes == {Scheme.HTTP}:
        return "Plain HTTP"
    if not schemes:
        return ""
    return "Verified: own CA" if host.upstream_configuration.ca_certificate else "Verified: system CAs"
