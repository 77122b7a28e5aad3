"""CPU and memory of a process tree."""

import subprocess
import sys

from tests.bench.usage import Usage, usage_of

# A parent that sleeps on its child, which burns some CPU and then says so and waits.
_BURN = "import time\nwhile time.process_time() < 0.3: pass\nprint('burnt', flush=True); input()"
_PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {_BURN!r}])"


def test_descendants_count() -> None:
    """What a child process uses is the parent's usage."""
    with subprocess.Popen([sys.executable, "-c", _PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"burnt\n"
        usage = usage_of(process.pid)
    assert usage.user_s + usage.system_s >= 0.28
    assert usage.rss_bytes > 8 * 2**20


def test_difference_keeps_the_later_memory() -> None:
    """Times are subtracted, memory is what it was at the end."""
    assert Usage(3.0, 2.0, 7).since(Usage(1.0, 0.5, 9)) == Usage(2.0, 1.5, 7)
