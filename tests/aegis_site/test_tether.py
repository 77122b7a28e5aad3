"""tether.py: the command replaces it, is its own group, and dies with the parent."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from aegis_site import tether
from tests.support.polling import eventually

TETHER = [sys.executable, "-I", "-S", tether.__file__]


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_command_takes_the_place_of_the_tether_in_a_session_of_its_own() -> None:
    """The command has the process id that the parent knows, and leads its own session."""
    print_ids = [sys.executable, "-c", "import os; print(os.getpid(), os.getsid(0))"]
    process = subprocess.Popen([*TETHER, str(os.getpid()), *print_ids], stdout=subprocess.PIPE, text=True)
    output, _ = process.communicate(timeout=10)
    assert output.split() == [str(process.pid)] * 2


def test_the_command_is_killed_when_its_parent_is_killed() -> None:
    """SIGKILL of the parent, which nothing can catch, ends the child."""
    parent_code = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([*sys.argv[1:], str(os.getpid()), 'sleep', '60'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", parent_code, *TETHER], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child_pid = int(parent.stdout.readline())
        eventually(lambda: b"sleep" in Path(f"/proc/{child_pid}/cmdline").read_bytes().split(b"\0"), within_s=10)
        parent.send_signal(signal.SIGKILL)
        parent.wait(10)
    eventually(lambda: not is_alive(child_pid), within_s=5)


def test_a_tether_whose_parent_is_gone_already_runs_nothing() -> None:
    """A process that is not the child of the given parent ends at once."""
    result = subprocess.run([*TETHER, "1", "echo", "ran"], capture_output=True, text=True, timeout=10, check=False)
    assert (result.returncode, result.stdout) == (1, "")


def test_a_command_that_does_not_exist_is_named() -> None:
    """A missing program is one line, not a traceback."""
    command = [*TETHER, str(os.getpid()), "/nonexistent/program"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    assert result.returncode == 1
    assert result.stderr == "cannot run /nonexistent/program: No such file or directory\n"


@pytest.mark.parametrize("number", [signal.SIGPIPE, signal.SIGTERM])
def test_the_command_starts_with_default_signal_handling(number: int) -> None:
    """What Python ignores is not passed on to the command."""
    command = [*TETHER, str(os.getpid()), "sh", "-c", "grep SigIgn /proc/self/status"]
    output = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    ignored = int(output.split()[1], 16)
    assert not ignored >> (number - 1) & 1
