"""Failures of upstreams, told to apps above this one, such as the failure inbox.

Laws of this module:
- An app registers its observer when it is loaded (`AppConfig.ready`); no import points upwards.
- Functions are named by dotted paths and looked up when there is something to tell: the proxy worker, too, tells what
  its traffic met, and loads nothing before.
- Whoever tells does so inside the transaction that records the same; the observer's writes are kept with it or not.
"""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.utils.module_loading import import_string

from proxyworker.snapshot import UpstreamFailure as Reported

if TYPE_CHECKING:
    from hosts.models import ConnectionTest


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureObserver:
    """Who is told.

    `traffic(worker_id=, run=, failures=, now=)` gets what a worker reports, of upstreams that exist, in the worker's
    own process. `test(test, now=)` gets each connection test that has a result.
    """

    traffic: str
    test: str


_observers: dict[str, FailureObserver] = {}


def register(name: str, observer: FailureObserver) -> None:
    """Have `observer` told from now on."""
    _observers[name] = observer


def tell_of_traffic(*, worker_id: str, run: str, failures: Sequence[Reported], now: datetime.datetime) -> None:
    """A worker reported these."""
    for observer in _observers.values():
        import_string(observer.traffic)(worker_id=worker_id, run=run, failures=failures, now=now)


def tell_of_test(test: "ConnectionTest", *, now: datetime.datetime) -> None:
    """This test is done."""
    for observer in _observers.values():
        import_string(observer.test)(test, now=now)
