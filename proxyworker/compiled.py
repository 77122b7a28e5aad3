"""The hot part of the data plane as an extension module, where `make compile` has made one (docs/adr/0009).

Laws of this module:
- A build stands in a directory that is named by the digest of all it was made from. With other sources, requirements or
  another Python there is no directory of that name, so what does not match cannot be loaded.
- All or nothing: a process uses all compiled modules or none, and decides before the first of them is imported.
- The standard library only, and nothing of the data plane.
"""

import hashlib
import sys
import sysconfig
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
BUILDS = ROOT / "build" / "compiled"

# The module that has the code of all others. Those are shells of a few lines.
GROUP = "aegis_data_plane__mypyc"

# What a request passes through. What opens sockets, loads configurations or answers /metrics stays as it is.
_COMPILED = ("errors.py", "access_log/lines.py", "protocol/*.py", "policy/*.py", "net/*.py")
_NOT_COMPILED = frozenset(("__init__.py", "server_certificate.py", "transport.py"))

# What a build depends on: also the modules whose types the compiled ones rely on.
_INGREDIENTS = ("proxyworker/**/*.py", "upstream_tls/tls/**/*.py", "requirements*.txt")


def sources() -> list[Path]:
    """The files of the compiled modules, relative to ROOT."""
    package = ROOT / "proxyworker"
    found = (path for pattern in _COMPILED for path in package.glob(pattern) if path.name not in _NOT_COMPILED)
    return sorted(path.relative_to(ROOT) for path in found)


def build_directory() -> Path:
    """Where the build of the present sources stands, if there is one."""
    digest = hashlib.sha256(f"{sys.version} {sysconfig.get_platform()}".encode())
    for path in sorted(path for pattern in _INGREDIENTS for path in ROOT.glob(pattern)):
        content = path.read_bytes()
        digest.update(b"%b %d\n%b" % (path.relative_to(ROOT).as_posix().encode(), len(content), content))
    return BUILDS / digest.hexdigest()[:32]


def use() -> bool:
    """Has this process import the compiled modules, if there is a build of the present sources. Whether there is."""
    directory = build_directory()
    if not directory.is_dir():
        return False
    finder = _Finder(directory)
    if too_early := finder.names & sys.modules.keys():
        raise RuntimeError(f"imported before it was known whether to use its compiled form: {min(too_early)}")
    sys.meta_path.insert(0, finder)
    return True


def is_used() -> bool:
    """Whether this process runs the compiled modules."""
    return any(isinstance(finder, _Finder) for finder in sys.meta_path)


class _Finder(MetaPathFinder):
    """Finds the modules of a build there and nowhere else: one whose file is missing cannot be imported."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.names = {".".join(path.with_suffix("").parts) for path in sources()} | {GROUP}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self.names:
            return None
        file = self._directory.joinpath(*fullname.split("."))
        return spec_from_file_location(fullname, file.with_suffix(EXTENSION_SUFFIXES[0]))
