"""Memory from the system, seen by what it costs."""

import subprocess
import sys

import pytest

BLOCKS = """
import resource
from proxyworker.allocator import keep_large_buffers

def use_and_give_back():
    held = [piece * 250 for _ in range(8)]
    while held:
        held.pop()

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

piece = b"x" * 1000
keep_large_buffers()
use_and_give_back()
before = faults()
for _ in range(20):
    use_and_give_back()
print(faults() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="about glibc")
def test_large_blocks_are_used_again() -> None:
    """Two megabytes, taken and given back again and again, are not asked of the system each time (500 pages)."""
    done = subprocess.run([sys.executable, "-c", BLOCKS], capture_output=True, check=True, text=True)
    assert int(done.stdout) < 500
