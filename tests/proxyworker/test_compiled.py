"""Which form of the data plane a process runs, and that both do the same."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aegis_site.environment import BASE_DIR
from proxyworker import compiled


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation with two sources, and nothing built."""
    for name, text in {"proxyworker/errors.py": "A = 1\n", "requirements.txt": "some==1\n"}.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(compiled, "ROOT", tmp_path)
    monkeypatch.setattr(compiled, "BUILDS", tmp_path / "build")
    return tmp_path


def test_without_a_build_the_sources_run(tree: Path) -> None:
    """Nothing is changed about how modules are found."""
    before = list(sys.meta_path)
    assert not compiled.use()
    assert sys.meta_path == before


@pytest.mark.parametrize("name", ["proxyworker/errors.py", "proxyworker/snapshot.py", "requirements.txt"])
def test_a_build_of_other_sources_is_not_found(tree: Path, name: str) -> None:
    """A change of anything that a build was made from, or a new file, and the sources run instead."""
    compiled.build_directory().mkdir(parents=True)
    assert compiled.build_directory().is_dir()
    (tree / name).write_text("B = 2\n")
    assert not compiled.build_directory().is_dir()
    assert not compiled.use()


def test_never_half_of_each(tree: Path) -> None:
    """Once a module was imported as Python it is too late for the compiled ones, and the process must not go on."""
    from proxyworker import errors

    compiled.build_directory().mkdir(parents=True)
    assert errors.__name__ in sys.modules
    with pytest.raises(RuntimeError, match="imported before it was known"):
        compiled.use()


def test_what_is_missing_in_a_build_cannot_be_imported(tmp_path: Path) -> None:
    """A build without one of its modules: an ImportError instead of that module's source."""
    script = """
import pathlib, sys
from proxyworker import compiled
compiled.BUILDS = pathlib.Path(sys.argv[1])
compiled.build_directory().mkdir()
assert compiled.use() and compiled.is_used()
import proxyworker.snapshot
import proxyworker.errors
"""
    done = run("-c", script, str(tmp_path), form="0")
    assert done.returncode == 1
    assert "ImportError" in done.stderr
    assert "proxyworker/errors" in done.stderr


def test_what_is_compiled() -> None:
    """The way of a request, but not what the control plane imports or tests replace."""
    names = {path.as_posix() for path in compiled.sources()}
    assert {"proxyworker/net/exchange.py", "proxyworker/protocol/request.py", "proxyworker/errors.py"} < names
    assert not names & {"proxyworker/snapshot.py", "proxyworker/net/transport.py", "proxyworker/net/__init__.py"}


@pytest.mark.skipif(not compiled.build_directory().is_dir(), reason="nothing is compiled: make compile")
def test_both_forms_do_the_same() -> None:
    """Every byte to client and upstream, and all that is counted and logged, for each message of the corpus."""
    pure, fast = (run("-m", "tests.proxyworker.corpus_outcome", form=form) for form in "01")
    assert (pure.returncode, fast.returncode) == (0, 0), pure.stderr + fast.stderr
    pure_kind, _, pure_outcomes = pure.stdout.partition("\n")
    fast_kind, _, fast_outcomes = fast.stdout.partition("\n")
    assert (pure_kind, fast_kind) == ("function", "method_descriptor")
    assert len(pure_outcomes.splitlines()) > 300
    assert fast_outcomes == pure_outcomes


def run(*arguments: str, form: str) -> subprocess.CompletedProcess[str]:
    """A Python of its own, which is told that form of the data plane."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=BASE_DIR,
        env={**os.environ, "TESTS_COMPILED": form},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
