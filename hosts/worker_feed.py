"""What a proxy worker reads from the database and reports to it.

Laws of this module: called off the reactor thread, by threads that live long; so every call begins and ends by closing
connections that are too old or broken. No admin, no Redis, no TLS is imported here.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from django.db import close_old_connections
from django.utils import timezone

from aegis_site.kernel.errors import AegisError
from aegis_site.kernel.fields import Sealed
from hosts.models import CompiledHost, ProxyWorker
from hosts.selectors import latest_generation
from hosts.traffic_statistics.recording import record_traffic
from hosts.upstream_failures import record_failures
from proxyworker.snapshot import LoadedEntry, WorkerReport

ROWS_AT_ONCE = 200


class KeyUnusable(AegisError):
    """A certificate is presented, or a header rule applied, but the secret that it needs could not be published."""


class DatabaseFeed:
    """The worker's source. Raises django.db.DatabaseError when the database is away."""

    def entries_since(self, generation: int) -> Iterator[LoadedEntry]:
        """The entries newer than `generation` in order, tombstones too; for 0 all living ones. One query.

        Rows are fetched as they are asked for: all entries at once would be the worker's largest use of memory.
        """
        with _fresh_connection():
            yield from map(_loaded, CompiledHost.objects.newer_than(generation).iterator(chunk_size=ROWS_AT_ONCE))

    def latest_generation(self) -> int:
        """The newest generation that is published. One query."""
        with _fresh_connection():
            return latest_generation()

    def record_report(self, report: WorkerReport) -> None:
        """Keep what a worker says about itself and its upstreams."""
        now = timezone.now()
        with _fresh_connection():
            worker, _ = ProxyWorker.objects.update_or_create(
                worker_id=report.worker_id,
                defaults={
                    "generation": report.generation,
                    "accepted": report.accepted,
                    "rejected": dict(report.rejected),
                    "health_feed_is_current": report.health_feed_is_current,
                    "version": report.version,
                    "pid": report.pid,
                    "last_seen_at": now,
                },
            )
            if report.failures:
                record_failures(worker=worker, run=report.run, reported=report.failures, now=now)
            if report.traffic:
                record_traffic(run=report.run, reported=report.traffic, now=now)


@contextmanager
def _fresh_connection() -> Iterator[None]:
    close_old_connections()
    try:
        yield
    finally:
        close_old_connections()


def _loaded(row: CompiledHost) -> LoadedEntry:
    return LoadedEntry(
        host_id=str(row.pk),
        generation=row.generation,
        digest=row.digest,
        entry_json=row.entry_json,
        open_client_key=_opener(row.client_key, "client_key_unusable", row.problem),
        open_downstream_key=_opener(row.downstream_key, "key_unusable", row.downstream_problem),
        open_header_secrets=_opener(row.header_secrets, "header_secrets_unusable", row.problem),
    )


def _opener(secret: Sealed | None, code: str, problem: str) -> Callable[[], bytes] | None:
    if secret is not None:
        return secret.reveal
    if not problem:
        return None

    def refuse() -> NoReturn:
        raise KeyUnusable(code, problem)

    return refuse
