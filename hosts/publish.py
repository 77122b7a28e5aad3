"""From changed rows to the workers: compile, give out a generation, tell them.

Laws of this module:
- Commit first, then publish. Whoever changes a host calls `publish_on_commit` inside the same transaction; who changes
  many of them in one does so within `publishing_together`.
- The counter is locked first and the rows are read under that lock, until the commit. So a generation never commits
  before a smaller one, and of two changes of one host the later one is published last.
- An equal entry publishes nothing.
- Redis only speeds things up: its failure is logged, workers poll.
"""

import logging
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import redis
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from redis.backoff import NoBackoff
from redis.retry import Retry

from aegis_site.kernel.errors import AegisError
from aegis_site.kernel.fields import Sealed
from hosts.bulk import save_rows
from hosts.compile import compile_host
from hosts.models import CompiledHost, GenerationCounter, Host
from proxyworker.snapshot import GENERATION_CHANNEL, SCHEMA_VERSION, encode_entry, entry_digest

logger = logging.getLogger(__name__)

# Whoever saves a host waits for connect and reply.
SIGNAL_TIMEOUT_S = 0.5

_gathered: ContextVar[set[uuid.UUID] | None] = ContextVar("hosts_to_publish", default=None)


def publish_on_commit(host_ids: Iterable[uuid.UUID]) -> None:
    """Publish these hosts, changed or deleted, when the present transaction commits.

    A failure then is logged and healed by `hosts.tasks.compile_changed_hosts`: the change itself is committed.
    """
    identifiers = tuple(host_ids)
    gathered = _gathered.get()
    if gathered is not None:
        gathered.update(identifiers)
        return
    transaction.on_commit(lambda: publish(identifiers), robust=True)


@contextmanager
def publishing_together(host_ids: set[uuid.UUID]) -> Iterator[None]:
    """What the block would publish is only added to `host_ids`; the caller publishes it, in the same transaction."""
    token = _gathered.set(host_ids)
    try:
        yield
    finally:
        _gathered.reset(token)


def publish(host_ids: Iterable[uuid.UUID]) -> None:
    """Compile these hosts in one transaction and announce the generation, if anything is new."""
    generation = compile_hosts(host_ids)
    if generation is not None:
        announce(generation)


@transaction.atomic
def compile_hosts(host_ids: Iterable[uuid.UUID]) -> int | None:
    """Compile these hosts; those that do not exist become tombstones. The newest generation, or None for no change."""
    identifiers = sorted(set(host_ids))
    if not identifiers:
        return None
    counter = _locked_counter()
    before = counter.value
    hosts = Host.objects.with_configuration().in_bulk(identifiers)
    compiled = CompiledHost.objects.in_bulk(identifiers)
    rows = []
    for host_id in identifiers:
        row = compiled.get(host_id) or CompiledHost(id=host_id, generation=0)
        host = hosts.get(host_id)
        if _refresh(row, host) or (host and not row.generation):
            counter.value += 1
            row.generation = counter.value
        # A host that was deleted before its first compile leaves no trace: no worker knows it.
        if row.generation:
            rows.append(row)
    save_rows(rows)
    if counter.value == before:
        return None
    counter.save(update_fields=["value"])
    return counter.value


def announce(generation: int) -> None:
    """Tell the listening workers. Never raises for want of Redis and never waits longer than about a second."""
    client = redis.Redis.from_url(
        settings.AEGIS_REDIS_URL,
        socket_connect_timeout=SIGNAL_TIMEOUT_S,
        socket_timeout=SIGNAL_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        client.publish(GENERATION_CHANNEL, str(generation))
    except (redis.RedisError, OSError) as error:
        # The error's text may hold the URL, and that a password.
        logger.warning("generation %d was not announced (%s): workers will poll", generation, type(error).__name__)
    finally:
        client.close()


def _locked_counter() -> GenerationCounter:
    # On SQLite the transaction itself, begun IMMEDIATE, is the lock.
    counter, _ = GenerationCounter.objects.select_for_update().get_or_create(pk=1)
    return counter


def _refresh(row: CompiledHost, host: Host | None) -> bool:
    """Bring a row up to date with its host. Whether the workers must hear of it."""
    before = _published(row)
    row.compiled_at = timezone.now()
    row.schema_version = SCHEMA_VERSION
    row.source_updated_at = host.updated_at if host else None
    row.name = host.name if host else row.name
    row.entry_json, row.digest = "", ""
    row.client_key = row.downstream_key = row.header_secrets = None
    row.problem = row.downstream_problem = ""
    if host is not None and host.enabled:
        compiled = compile_host(host, now=row.compiled_at)
        row.entry_json = encode_entry(compiled.entry)
        row.digest = entry_digest(row.entry_json)
        row.client_key, key_problem = _copy(compiled.client_key, "client key")
        row.header_secrets, rules_problem = _copy(compiled.header_secrets, "values of header rules")
        row.problem = " ".join(filter(None, (key_problem, rules_problem)))
        row.downstream_key, row.downstream_problem = _copy(
            compiled.downstream_key, "key of the certificate for clients"
        )
    return _published(row) != before


def _published(row: CompiledHost) -> tuple[object, ...]:
    """What workers make of a row. Another secret is another entry: its fingerprint or name is in there."""
    sealed = (row.client_key, row.downstream_key, row.header_secrets)
    return row.entry_json, row.problem, row.downstream_problem, [secret is None for secret in sealed]


def _copy(secret: Sealed | None, what: str) -> tuple[Sealed | None, str]:
    """The secret, to be sealed anew for the compiled row, or why that is impossible."""
    if secret is None:
        return None, ""
    try:
        return Sealed.of(secret.reveal()), ""
    except AegisError as error:
        return None, f"The {what} cannot be opened: {error.message}."
