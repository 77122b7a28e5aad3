"""The plan that the demo's two processes share, and the process that runs the zoo."""

import datetime
import signal
import stat
import subprocess
import sys
from pathlib import Path

from aegis_site.demo_zoo import ZooPlan
from aegis_site.environment import BASE_DIR
from tests.support.polling import eventually
from tests.support.ports import free_port
from upstream_tls.tls.probe import ProbeTarget, probe
from upstream_tls.zoo.members import members

NOW = datetime.datetime(2026, 5, 1, tzinfo=datetime.UTC)


def test_plan_comes_back_as_it_was_written(tmp_path: Path) -> None:
    """Seed, moment and ports survive; the seed is for this user alone and not in the repr."""
    plan = ZooPlan(seed=b"\x01" * 32, made_at=NOW, ports={"good": 1234})
    plan.write(tmp_path)
    assert ZooPlan.read(tmp_path) == plan
    assert stat.S_IMODE((tmp_path / "demo" / "zoo.json").stat().st_mode) == 0o600
    assert "01" * 32 not in repr(plan)


def test_plan_that_cannot_be_read_counts_as_none(tmp_path: Path) -> None:
    """Missing or damaged: the next set-up makes a new one."""
    assert ZooPlan.read(tmp_path) is None
    (tmp_path / "demo").mkdir()
    for damage in ("", "[]", '{"seed": 1}', "{}"):
        (tmp_path / "demo" / "zoo.json").write_text(damage)
        assert ZooPlan.read(tmp_path) is None


def test_process_runs_the_planned_zoo_until_it_is_told_to_stop(tmp_path: Path) -> None:
    """A good member answers at its planned port, with settings made from the plan elsewhere; SIGTERM ends it."""
    ports = {member.name: 0 for member in members()} | {"good": free_port()}
    plan = ZooPlan(seed=b"\x02" * 32, made_at=datetime.datetime.now(datetime.UTC), ports=ports)
    plan.write(tmp_path)
    good = next(member for member in members() if member.name == "good")
    spec = good.spec(plan.pki)
    target = ProbeTarget(address="127.0.0.1", port=ports["good"], host_field="zoo.internal")
    with subprocess.Popen([sys.executable, "-m", "aegis_site.demo_zoo", str(tmp_path)], cwd=BASE_DIR) as process:
        try:
            assert eventually(lambda: probe(spec, target).success, within_s=30)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=10) == 0
        finally:
            process.kill()
