"""Tries upstreams with several configurations at once, to the end or until one knows enough.

Laws of this module:
- The same builder and the same probe as a connection test's (`upstream_tls.tls.probe`), so that all of them agree.
- Threads that wait for an upstream touch no database. There are MAX_AT_ONCE of them at most, or MAX_WATCHED while an
  identity is watched, and all have an end.
"""

import concurrent.futures
import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Generic, Self, TypeVar

from cryptography import x509

from hosts.connection_tests import host_field_of
from hosts.models import Host, Upstream
from hosts.rotation.judging import Document
from upstream_tls.models import UpstreamTLSConfiguration
from upstream_tls.services import spec_of
from upstream_tls.tls.probe import probe
from upstream_tls.tls.result import ProbeResult, ProbeTarget, as_document
from upstream_tls.tls.spec import UpstreamTLSSpec

logger = logging.getLogger(__name__)

K = TypeVar("K")

# 200 attempts, two at each upstream of the largest host, take four rounds.
MAX_AT_ONCE = 50
# All of those at once: whoever hangs must not hold up who refuses.
MAX_WATCHED = 200
# For the probe that does not end by itself.
_GRACE_S = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One probe to be made. The spec may hold a key."""

    spec: UpstreamTLSSpec = field(repr=False)
    target: ProbeTarget


def attempts_at(upstreams: Sequence[Upstream], *, host: Host, configuration: UpstreamTLSConfiguration) -> list[Attempt]:
    """One for each upstream, asking as the host would. `host` is `with_configuration`. Raises SecretUnreadable."""
    spec = spec_of(configuration)
    domains = [domain.name for domain in host.domains.all()]
    return [
        Attempt(
            spec=spec,
            target=ProbeTarget(
                address=upstream.address,
                port=upstream.port,
                host_field=host_field_of(host, domains, upstream, configuration),
            ),
        )
        for upstream in upstreams
    ]


def longest_s(count: int, *, timeout_s: float, at_once: int = MAX_AT_ONCE) -> float:
    """How long so many attempts take at most, in seconds."""
    return math.ceil(count / at_once) * (timeout_s + _GRACE_S)


def run(
    attempts: Sequence[Attempt], *, timeout_s: float, known: tuple[x509.Certificate, ...] = ()
) -> list[Document | None]:
    """The documents in the order of the attempts; None for what did not end. `known` as `probe` takes it."""
    if not attempts:
        return []
    within_s = longest_s(len(attempts), timeout_s=timeout_s)
    with Probes[int](timeout_s=timeout_s, at_once=MAX_AT_ONCE, known=known) as probes:
        for number, attempt in enumerate(attempts):
            probes.add(number, attempt)
        documents = dict(probes.results(within_s=within_s))
    return [documents.get(number) for number in range(len(attempts))]


class Probes(Generic[K]):
    """Probes under way, each with a key of the caller's. Leaving the block abandons those that have not ended.

    Those still end by themselves, after `timeout_s`.
    """

    def __init__(self, *, timeout_s: float, at_once: int, known: tuple[x509.Certificate, ...] = ()) -> None:
        self._timeout_s = timeout_s
        self._known = known
        self._executor = concurrent.futures.ThreadPoolExecutor(at_once, thread_name_prefix="rotation-probe")
        self._under_way: dict[concurrent.futures.Future[ProbeResult], K] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)

    def add(self, key: K, attempt: Attempt) -> None:
        """Begin another one, also while results are read."""
        future = self._executor.submit(
            probe, attempt.spec, attempt.target, timeout_s=self._timeout_s, known_certificates=self._known
        )
        self._under_way[future] = key

    def results(self, *, within_s: float) -> Iterator[tuple[K, Document | None]]:
        """Key and document of each, as they end. What has not ended `within_s` is left out."""
        until = time.monotonic() + within_s
        while self._under_way:
            ended, _ = concurrent.futures.wait(
                self._under_way,
                timeout=max(until - time.monotonic(), 0),
                return_when=concurrent.futures.FIRST_COMPLETED,
            )
            if not ended:
                logger.error("%d probes of a rotation did not end", len(self._under_way))
                return
            for future in ended:
                yield self._under_way.pop(future), _document(future)


def _document(future: "concurrent.futures.Future[ProbeResult]") -> Document | None:
    try:
        return as_document(future.result())
    except Exception:
        # A mistake of ours in one probe must not cost the others; without a result nothing is promoted.
        logger.exception("a probe of a rotation failed")
        return None
