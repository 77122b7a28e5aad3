"""Runs a command that must not outlive the process that starts it: `tether.py PARENT_PID COMMAND [ARGUMENT...]`.

Laws of this module: standard library only and meant for `python -I -S`, so that it costs a few milliseconds; it ends in
exec, so the command has the process id that the parent knows.
"""

import ctypes
import os
import signal
import sys

# prctl(2): the signal that the kernel sends to this process when its parent ends, however that happens.
PR_SET_PDEATHSIG = 1


def die_with(parent_pid: int) -> None:
    """From now on the kernel kills this process when `parent_pid` ends; ends it now when that happened already.

    SIGKILL, not SIGTERM: nobody is left to insist, and a Valkey that lingers would write the next one's files.
    Linux only; elsewhere a killed `manage.py up` leaves its children running. Not inherited by a fork.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        sys.exit(1)


def main(parent_pid: int, command: list[str]) -> None:
    die_with(parent_pid)
    # Ctrl-C in the terminal goes to the whole foreground group; who stops when is the parent's decision alone.
    os.setsid()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and ignored signals survive exec
    try:
        os.execvp(command[0], command)  # noqa: S606 (a list, no shell)
    except OSError as error:
        sys.exit(f"cannot run {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
