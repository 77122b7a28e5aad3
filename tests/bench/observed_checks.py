"""`celery --app tests.bench.observed_checks`: Aegis's Celery app, for a worker that also says when each check began.

Laws of this module: everything is the product's; around two of its functions the clock is read. One line of JSON for
each sweep and for each batch of results goes to the file that CHECKS_OBSERVED names; one thread writes at a time.
"""

import datetime
import json
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celery.signals import worker_init

from aegis_site.celery import app

if TYPE_CHECKING:
    from healthchecks.models import HealthTransition
    from healthchecks.recording import Result

__all__ = ["CHECKS_OBSERVED", "app"]

CHECKS_OBSERVED = "CHECKS_OBSERVED"
_writing = threading.Lock()


@worker_init.connect  # type: ignore[untyped-decorator]
def observe(**_: Any) -> None:
    """Once the apps are loaded and before the first sweep."""
    from healthchecks import sweep as module

    sweep, record = module.Sweeper.sweep, module.record

    def observed_sweep(self: Any) -> None:
        began = time.time()
        wall, cpu = time.perf_counter(), time.thread_time()
        sweep(self)
        _say(kind="sweep", at=began, wall_s=time.perf_counter() - wall, cpu_s=time.thread_time() - cpu)

    def observed_record(results: "Sequence[Result]", *, now: datetime.datetime) -> "list[HealthTransition]":
        wall, cpu = time.perf_counter(), time.thread_time()
        transitions = record(results, now=now)
        _say(
            kind="results",
            at=now.timestamp(),
            wall_s=time.perf_counter() - wall,
            cpu_s=time.thread_time() - cpu,
            # Upstream, due, begun, code. Nothing is known of a check when this process was held up.
            checks=[
                [
                    str(result.claim.upstream_id),
                    result.claim.due_at.timestamp(),
                    result.outcome.at.timestamp() if result.outcome else None,
                    result.outcome.code if result.outcome else "held up",
                ]
                for result in results
            ],
        )
        return transitions

    module.Sweeper.sweep = observed_sweep  # type: ignore[method-assign]
    module.record = observed_record


def _say(**what: Any) -> None:
    with _writing, Path(os.environ[CHECKS_OBSERVED]).open("a") as file:
        file.write(json.dumps(what) + "\n")
