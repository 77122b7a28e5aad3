"""`python -m proxyworker.compiling` makes what `compiled` loads: mypyc turns the annotated sources into C.

Laws of this module: a build appears under its name when it is complete. A machine that cannot compile is told so in one
line and goes without; sources that do not compile are an error.
"""

import contextlib
import os
import shlex
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

from proxyworker.compiled import BUILDS, GROUP, ROOT, build_directory, sources

# As strict as pyproject.toml has it, but without Django, of which the data plane knows nothing.
_MYPY_OPTIONS = (
    "--config-file=",
    "--strict",
    "--allow-subclassing-any",
    "--untyped-calls-exclude=twisted",
    "--ignore-missing-imports",
)


def main() -> int:
    """Makes the build of the present sources, unless it is there. The exit status."""
    directory = build_directory()
    if directory.is_dir():
        return 0
    if missing := _missing():
        sys.stdout.write(f"The proxy worker stays pure Python, the same but slower: {missing}\n")
        return 0
    sys.stdout.write("Compiling the hot part of the proxy worker (about a minute) ...\n")
    BUILDS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILDS, prefix="unfinished-") as scratch:
        _build(Path(scratch))
        for former in BUILDS.iterdir():
            if former != Path(scratch):
                shutil.rmtree(former)
        with contextlib.suppress(FileExistsError):
            Path(scratch, "lib").rename(directory)
    return 0


def _missing() -> str:
    """What there is none of on this machine, or nothing."""
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")[0]
    if shutil.which(compiler) is None:
        return f"there is no C compiler ({compiler})"
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        return "there is no Python.h (on Debian and Ubuntu: apt-get install python3-dev)"
    return ""


def _build(scratch: Path) -> None:
    from mypyc.build import mypycify  # noqa: PLC0415 (it imports setuptools, which are both for development only)
    from setuptools import setup  # noqa: PLC0415

    os.chdir(ROOT)  # the names of the modules follow from their paths
    extensions = mypycify(
        [*_MYPY_OPTIONS, f"--cache-dir={scratch / 'mypy'}", *map(str, sources())],
        opt_level="3",
        debug_level="0",
        group_name=GROUP.removesuffix("__mypyc"),
        target_dir=str(scratch / "c"),
    )
    os.chdir(scratch)  # setuptools would take ROOT's pyproject.toml for its own
    where = [f"--build-lib={scratch / 'lib'}", f"--build-temp={scratch / 'o'}"]
    setup(name="aegis", packages=[], ext_modules=extensions, script_args=["--quiet", "build_ext", *where])


if __name__ == "__main__":
    sys.exit(main())
