"""instance_lock: one holder at a time, whatever a dead one left behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aegis_site.instance_lock import LOCK_FILE, AlreadyRunning, InstanceLock


def test_the_second_holder_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    """Who comes second is told whom to look for."""
    with InstanceLock(tmp_path), pytest.raises(AlreadyRunning) as refusal, InstanceLock(tmp_path):
        pass
    assert refusal.value.pid == str(os.getpid())
    assert str(refusal.value) == f"Aegis already runs on {tmp_path} (pid {os.getpid()}); stop it first"


def test_the_lock_is_free_after_the_block(tmp_path: Path) -> None:
    """Leaving the block lets the next one in, though the file stays."""
    for _ in range(2):
        with InstanceLock(tmp_path):
            pass
    assert (tmp_path / LOCK_FILE).stat().st_mode & 0o777 == 0o600


def test_a_file_of_a_dead_process_holds_nobody_up(tmp_path: Path) -> None:
    """Only the kernel's lock counts; the new holder writes its own pid, all of it."""
    (tmp_path / LOCK_FILE).write_text("1234567890123\n")
    with InstanceLock(tmp_path):
        assert (tmp_path / LOCK_FILE).read_text() == f"{os.getpid()}\n"


def test_a_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    """A process that was started under the lock and outlives it does not hold it."""
    with InstanceLock(tmp_path):
        command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, close_fds=False)
    try:
        with InstanceLock(tmp_path):
            pass
    finally:
        child.communicate()
