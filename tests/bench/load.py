"""Load on a proxy: wrk where it is installed, otherwise a small generator of our own, in a process of its own.

Laws of this module: a run ends after a time, not after a number of requests; an answer with another status or length
than the scenario's is an error, and a measurement with errors is worth nothing.
"""

import json
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from aegis_site.environment import BASE_DIR
from tests.bench.scenarios import DOMAIN, Scenario

_SCRIPT = """
wrk.headers["Host"] = "{domain}"
if {request_bytes} > 0 then
  wrk.method = "POST"
  wrk.body = string.rep("x", {request_bytes})
end
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{{"requests": %d, "bytes": %d, "duration_s": %f, "errors": %d, "p50_ms": %f, "p99_ms": %f}}\\n',
    summary.requests, summary.bytes, summary.duration / 1e6,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


@dataclass(frozen=True)
class Load:
    """What one run got. `bytes` includes the heads of the answers."""

    requests: int
    bytes: int
    duration_s: float
    errors: int
    p50_ms: float
    p99_ms: float


class LoadFailed(Exception):
    """The generator did not measure what it was asked to."""


def put_load(port: int, scenario: Scenario, *, seconds: float, connections: int, directory: Path) -> Load:
    """Requests on `connections` connections for `seconds`. Raises LoadFailed for any wrong answer."""
    wrk = shutil.which("wrk")
    command = (
        _own(port, scenario, seconds, connections)
        if wrk is None or scenario.is_websocket
        else _wrk(wrk, port, scenario, seconds=seconds, connections=connections, directory=directory)
    )
    result = subprocess.run(command, capture_output=True, text=True, cwd=BASE_DIR, timeout=seconds + 30, check=False)
    lines = [line for line in result.stdout.splitlines() if line.startswith('{"requests"')]
    if not lines:
        raise LoadFailed(f"{command[0]} failed: {result.stdout}{result.stderr}")
    load = Load(**json.loads(lines[0]))
    if load.errors or not load.requests or load.bytes < load.requests * scenario.response_bytes:
        raise LoadFailed(f"{scenario.name} on port {port}: wrong answers: {load}")
    return load


def _wrk(wrk: str, port: int, scenario: Scenario, *, seconds: float, connections: int, directory: Path) -> list[str]:
    script = directory / f"{scenario.name}.lua"
    script.write_text(_SCRIPT.format(domain=DOMAIN, request_bytes=scenario.request_bytes))
    url = f"{scenario.scheme}://127.0.0.1:{port}{scenario.path}"
    # wrk takes whole seconds only.
    return [wrk, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", str(script), url]


def _own(port: int, scenario: Scenario, seconds: float, connections: int) -> list[str]:
    document = {"port": port, "seconds": seconds, "connections": connections, "scenario": asdict(scenario)}
    return [sys.executable, "-m", "tests.bench.generator", json.dumps(document)]
