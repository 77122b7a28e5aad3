"""Tries upstreams with several configurations at once.

Laws of this module:
- The same builder and the same probe as a connection test's (`upstream_tls.tls.probe`), so that all of them agree.
- Threads that wait for an upstream touch no database. There are MAX_AT_ONCE of them at most, and all have an end.
"""

import concurrent.futures
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

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

# 200 attempts, two at each upstream of the largest host, take four rounds.
MAX_AT_ONCE = 50
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


def longest_s(count: int, *, timeout_s: float) -> float:
    """How long so many attempts take at most, in seconds."""
    return math.ceil(count / MAX_AT_ONCE) * (timeout_s + _GRACE_S)


def run(
    attempts: Sequence[Attempt], *, timeout_s: float, known: tuple[x509.Certificate, ...] = ()
) -> list[Document | None]:
    """The documents in the order of the attempts; None for what did not end. `known` as `probe` takes it."""
    if not attempts:
        return []
    executor = concurrent.futures.ThreadPoolExecutor(
        max_workers=min(len(attempts), MAX_AT_ONCE), thread_name_prefix="rotation-probe"
    )
    try:
        futures = [
            executor.submit(probe, attempt.spec, attempt.target, timeout_s=timeout_s, known_certificates=known)
            for attempt in attempts
        ]
        concurrent.futures.wait(futures, timeout=longest_s(len(attempts), timeout_s=timeout_s))
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
    return [_document(future) for future in futures]


def _document(future: "concurrent.futures.Future[ProbeResult]") -> Document | None:
    if not future.done() or future.cancelled():
        logger.error("a probe of a rotation did not end")
        return None
    try:
        return as_document(future.result())
    except Exception:
        # A mistake of ours in one probe must not cost the others; without a result nothing is promoted.
        logger.exception("a probe of a rotation failed")
        return None
