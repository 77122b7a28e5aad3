"""Health checks alone: thousands of upstreams, one Celery worker on one core, and what happens when a hundred hang.

Laws of this module:
- Worker, beat and Valkey are the command lines of `manage.py up`; the worker only says besides when each check began
  (`tests.bench.observed_checks`). It has one core; beat, Valkey and the upstreams have the others.
- Every check is a TLS handshake with a client certificate, and one request. No session is resumed.
- A check is late by the time from when it was due to when it began. What was due and never began is told as missing.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from aegis_site import processes
from aegis_site.environment import BASE_DIR, VALKEY_SOCKET, Environment, read_environment
from aegis_site.supervisor import Child
from proxyworker.snapshot import HEALTH_BEAT
from tests.bench import health_upstream
from tests.bench.observed_checks import CHECKS_OBSERVED
from tests.bench.upstream import SERVER_NAME, Material
from tests.bench.usage import Usage, usage_of
from tests.support.polling import eventually

UPSTREAMS_PER_HOST = len(health_upstream.ADDRESSES)
INTERVAL_S = 10
CHECK = {"interval_s": INTERVAL_S, "timeout_s": 5.0}
HANGING = 100
LOOK_EVERY_S = 0.2
# Plans are made, and every upstream has had its first checks.
WARM_UP_S = 2.0 * INTERVAL_S


@dataclass(frozen=True, kw_only=True)
class Span:
    """A stretch of time, what the worker used in it, and how old the feed became.

    `waited_s`: how long its threads would have run, had the core been theirs alone. On a busy machine it says how
    much of the lateness is the machine's.
    """

    begun_at: float
    ended_at: float
    used: Usage
    waited_s: float
    oldest_feed_s: float


def measure(
    directory: Path,
    material: Material,
    *,
    upstreams: int,
    seconds: float,
    database_url: str = "",
    warm_up_s: float = WARM_UP_S,
) -> dict[str, Any]:
    """Figures of `upstreams` that answer, and then of the same beside HANGING that do not."""
    directory.mkdir()
    observed = directory / "observed.jsonl"
    observed.touch()
    installation = _Installation(directory, database_url)
    with ExitStack() as stack:
        places = stack.enter_context(health_upstream.answering(directory / "nginx", material))
        silent = stack.enter_context(health_upstream.hanging(HANGING))
        installation.migrate()
        answering = installation.fill("well", places, hosts=upstreams // UPSTREAMS_PER_HOST, material=material)
        worker = stack.enter_context(installation.running(observed))
        time.sleep(warm_up_s)
        alone = _span(worker, installation, seconds)
        hanging = installation.fill("hangs", silent, hosts=1, material=material)
        time.sleep(warm_up_s)
        beside = _span(worker, installation, seconds)
        time.sleep(CHECK["timeout_s"] + 1)  # what was due in it has its result
    lines = [json.loads(line) for line in observed.read_text().splitlines()]
    return {
        "upstreams": len(answering),
        "interval_s": INTERVAL_S,
        "database": "postgresql" if database_url else "sqlite",
        "alone": figures(lines, alone, answering),
        "beside_hanging": figures(lines, beside, answering),
        "hanging": figures(lines, beside, hanging),
    }


def figures(lines: Sequence[Mapping[str, Any]], span: Span, identifiers: Sequence[str]) -> dict[str, Any]:
    """Of the checks of some upstreams that were due within a span, and of the worker meanwhile."""
    wanted, seconds = set(identifiers), span.ended_at - span.begun_at
    batches = [line for line in lines if line["kind"] == "results" and span.begun_at <= line["at"] < span.ended_at]
    sweeps = [line for line in lines if line["kind"] == "sweep" and span.begun_at <= line["at"] < span.ended_at]
    # A check that hangs is written down a timeout later.
    checks = [
        check
        for line in lines
        if line["kind"] == "results"
        for check in line["checks"]
        if check[0] in wanted and span.begun_at <= check[1] < span.ended_at
    ]
    late = sorted(begun - due for _, due, begun, _ in checks if begun is not None)
    written = sum(len(batch["checks"]) for batch in batches)
    cpu_s = span.used.user_s + span.used.system_s
    return {
        "checks": len(checks),
        "missing": max(0, int(len(wanted) * (seconds // INTERVAL_S)) - len(checks)),
        "late_ms_median": _quantile(late, 0.5) * 1e3,
        "late_ms_p99": _quantile(late, 0.99) * 1e3,
        "late_ms_max": _quantile(late, 1.0) * 1e3,
        "codes": dict(Counter(code for *_, code in checks)),
        "results_per_s": written / seconds,
        "cpu_share": cpu_s / seconds,
        "waited_share": span.waited_s / seconds,
        "cpu_ms_per_check": cpu_s * 1e3 / max(1, written),
        "recording_cpu_ms_per_check": sum(batch["cpu_s"] for batch in batches) * 1e3 / max(1, written),
        "sweep_cpu_ms_median": _quantile(sorted(sweep["cpu_s"] for sweep in sweeps), 0.5) * 1e3,
        "sweep_ms_median": _quantile(sorted(sweep["wall_s"] for sweep in sweeps), 0.5) * 1e3,
        "sweep_ms_max": _quantile(sorted(sweep["wall_s"] for sweep in sweeps), 1.0) * 1e3,
        "feed_age_s_max": span.oldest_feed_s,
        "rss_mib": span.used.rss_bytes / 2**20,
    }


_COLUMNS = (
    ("checks", "checks", ".0f"),
    ("missing", "missing", ".0f"),
    ("late_ms_median", "late p50", ".0f"),
    ("late_ms_p99", "p99 ms", ".0f"),
    ("late_ms_max", "max ms", ".0f"),
    ("cpu_share", "CPU share", ".2f"),
    ("waited_share", "waited", ".2f"),
    ("cpu_ms_per_check", "CPU ms", ".2f"),
    ("recording_cpu_ms_per_check", "record ms", ".2f"),
    ("sweep_ms_max", "sweep max", ".0f"),
    ("feed_age_s_max", "feed s", ".1f"),
    ("rss_mib", "RSS MiB", ".0f"),
)


def table(result: Mapping[str, Any]) -> str:
    """The figures as text."""
    lines = [f"{'health':<16}" + "".join(f"{title:>11}" for _, title, _ in _COLUMNS)]
    for name in ("alone", "beside_hanging", "hanging"):
        row = result[name]
        lines.append(f"{name:<16}" + "".join(f"{format(row[key], form):>11}" for key, _, form in _COLUMNS))
    return "\n".join(lines)


def _span(worker: "subprocess.Popen[bytes]", installation: "_Installation", seconds: float) -> Span:
    begun_at, before, oldest_s = time.time(), usage_of(worker.pid), 0.0
    waited_s = _waited_s(worker.pid)
    while time.time() < begun_at + seconds:
        assert worker.poll() is None, f"the worker ended: see {installation.directory}"
        oldest_s = max(oldest_s, installation.feed_age_s())
        time.sleep(LOOK_EVERY_S)
    used = usage_of(worker.pid).since(before)
    return Span(
        begun_at=begun_at,
        ended_at=time.time(),
        used=used,
        waited_s=_waited_s(worker.pid) - waited_s,
        oldest_feed_s=oldest_s,
    )


def _waited_s(pid: int) -> float:
    """How long the threads that live now have waited for a core, each for itself (proc(5), schedstat)."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[1]) for thread in threads) / 1e9


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


class _Installation:
    """A data directory, and the three processes that check health."""

    def __init__(self, directory: Path, database_url: str) -> None:
        self.directory = directory
        self._variables = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ},
            "AEGIS_DATA_DIR": str(directory),
            "AEGIS_SSL_KEY": "0f" * 32,
            "AEGIS_SECRET_KEY": "only-for-the-bench-" + "x" * 40,
            "AEGIS_REDIS_URL": f"unix://{directory / VALKEY_SOCKET}",
            "AEGIS_LOG_LEVEL": "ERROR",
            **({"AEGIS_DATABASE_URL": database_url} if database_url else {}),
        }
        self._environment: Environment = read_environment(self._variables)
        self._redis = Redis.from_url(self._environment.redis_url)

    def migrate(self) -> None:
        self._run(str(BASE_DIR / "manage.py"), "migrate", "--verbosity", "0")

    def fill(self, prefix: str, places: Sequence[tuple[str, int]], *, hosts: int, material: Material) -> list[str]:
        """Makes `hosts` that have their upstreams at `places`. The ids of the upstreams."""
        tls = {
            "enabled": True,
            "client_certificate": material.client.chain_pem,
            "client_key": material.client.key_pem,
            "ca_certificate": material.ca_pem,
            "server_name": SERVER_NAME,
        }
        order = {"prefix": prefix, "hosts": hosts, "addresses": list(places), "tls": tls, "check": CHECK}
        identifiers: list[str] = json.loads(self._run("-m", "tests.bench.health_world", text=json.dumps(order)))
        return identifiers

    def feed_age_s(self) -> float:
        """By the time in the beat; 0 when there is none yet."""
        try:
            beat = self._redis.get(HEALTH_BEAT)
        except RedisError:
            return 0.0
        return time.time() - float(beat) if isinstance(beat, bytes) else 0.0

    @contextmanager
    def running(self, observed: Path) -> Iterator["subprocess.Popen[bytes]"]:
        """Valkey, the worker that is observed, and beat. The worker."""
        (self.directory / processes.VALKEY_DIRECTORY).mkdir()
        worker = processes.worker(self._environment, self._variables)
        argv = ["tests.bench.observed_checks" if word == "aegis_site.celery" else word for word in worker.argv]
        cpus = sorted(os.sched_getaffinity(0))
        others = set(cpus[1:]) or set(cpus)
        with ExitStack() as stack:
            valkey = processes.valkey(self._environment, self._variables)
            stack.enter_context(self._started(valkey, valkey.argv, others))
            eventually(self._answers, within_s=10)
            environment = {CHECKS_OBSERVED: str(observed)}
            running = stack.enter_context(self._started(worker, argv, {cpus[0]}, environment))
            beat = processes.beat(self._environment, self._variables)
            stack.enter_context(self._started(beat, beat.argv, others))
            eventually(lambda: observed.stat().st_size, within_s=60)
            yield running

    @contextmanager
    def _started(
        self, child: Child, argv: Sequence[str], cpus: set[int], environment: Mapping[str, str] | None = None
    ) -> Iterator["subprocess.Popen[bytes]"]:
        with (self.directory / f"{child.name}.log").open("wb") as log:
            process = subprocess.Popen(
                argv,
                cwd=BASE_DIR,
                env={**child.env, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            os.sched_setaffinity(process.pid, cpus)  # before it has threads, which inherit it
            yield process
        finally:
            process.kill()
            process.wait()

    def _answers(self) -> bool:
        try:
            return bool(self._redis.ping())
        except RedisError:
            return False

    def _run(self, *arguments: str, text: str = "") -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=BASE_DIR,
            env={**self._variables, "DJANGO_SETTINGS_MODULE": "aegis_site.settings"},
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{arguments}: {done.stderr}")
        return done.stdout
