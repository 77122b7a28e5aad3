"""docs/operations.md and docs/proxy.md name every metric, and none that there is not."""

import re

from twisted.internet.task import Clock

from aegis_site.environment import BASE_DIR
from hosts.expiry.metrics import NAME
from proxyworker.failures import LastFailures
from proxyworker.statistics import TrafficStatistics
from proxyworker.telemetry import GAUGES, WorkerTelemetry

PAGES = [(BASE_DIR / "docs" / name).read_text() for name in ("operations.md", "proxy.md")]
# Added by the supervisor of several workers.
OF_A_GROUP = {"aegis_worker_up"}
# Of the whole installation, told by the web process.
OF_THE_TIMELINE = {NAME}


class Dropped:
    """As much of an access log as a scrape asks for."""

    dropped_count = 0


def test_the_pages_and_the_processes_name_the_same_metrics() -> None:
    """By the names that a query has to use."""
    telemetry = WorkerTelemetry(
        clock=Clock().seconds,
        gauges=lambda: dict.fromkeys(GAUGES, 0),
        failures=LastFailures(lambda: 0),
        statistics=TrafficStatistics(lambda: 0),
        access_log=Dropped(),  # type: ignore[arg-type]
    )
    told = set(re.findall(r"^# HELP (aegis_\w+)", telemetry.render().decode(), re.MULTILINE))
    written = {name for page in PAGES for name in re.findall(r"`(aegis_\w+)", page)}
    assert told | OF_A_GROUP | OF_THE_TIMELINE == written
