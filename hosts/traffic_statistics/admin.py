"""Traffic in the host editor: plots and numbers of an hour, a day and a week.

Laws of this module: as in `hosts.admin`. Nothing is changed, so whoever may view a host sees it.
"""

from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from aegis_site.kernel.admin import display, shown_once
from hosts.models import Host
from hosts.traffic_statistics.plots import percent, plots_of, rows_of
from hosts.traffic_statistics.selectors import host_series
from hosts.traffic_statistics.windows import Window


class TrafficStatisticsAdmin(ModelAdmin):
    """To be mixed into the admin of hosts."""

    class Media:
        css = {"all": ["hosts/traffic.css"]}

    @display(description="Traffic")
    @shown_once
    def traffic_statistics(self, host: Host) -> SafeString:
        return traffic_section(host, now_s=timezone.now().timestamp())


def traffic_section(host: Host, *, now_s: float) -> SafeString:
    """All windows, of which one is shown. Three queries."""
    parts = []
    for window in Window:
        series = host_series(host.pk, window, now_s=now_s)
        parts.append(
            {
                "window": window,
                "requests": f"{series.total.requests:,}",
                "errors": percent(series.total.error_rate),
                "client_errors": f"{series.total.client_errors:,}",
                "upstream_failures": f"{series.total.upstream_failures:,}",
                "plots": plots_of(series),
                "rows": rows_of(series),
            }
        )
    return render_to_string("hosts/traffic_section.html", {"parts": parts})
