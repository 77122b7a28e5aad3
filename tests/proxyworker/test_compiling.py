"""Making the build: when there is nothing to do, and on machines that cannot. That it works, test_compiled shows."""

from pathlib import Path

import pytest

from proxyworker import compiling


@pytest.fixture
def nothing_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a build that is not there; compiling would fail."""
    monkeypatch.setattr(compiling, "BUILDS", tmp_path)
    monkeypatch.setattr(compiling, "build_directory", lambda: tmp_path / "digest")
    monkeypatch.setattr(compiling, "_build", lambda scratch: pytest.fail("compiled"))
    return tmp_path


def test_a_machine_without_a_compiler_goes_without(
    nothing_is_built: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told in one line what is missing, which is no error."""
    monkeypatch.setenv("PATH", str(nothing_is_built))
    assert compiling.main() == 0
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("The proxy worker stays pure Python, the same but slower: there is no C compiler (")


def test_a_build_is_made_once(nothing_is_built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """While there is one of the present sources nothing is done."""
    (nothing_is_built / "digest").mkdir()
    assert compiling.main() == 0
    assert capsys.readouterr().out == ""


def test_a_build_appears_when_it_is_complete(nothing_is_built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that breaks off leaves nothing behind; a complete one takes the place of all former ones."""
    former = nothing_is_built / "former"
    former.mkdir()

    def break_off(scratch: Path) -> None:
        (scratch / "lib").mkdir()
        raise OSError("disk full")

    monkeypatch.setattr(compiling, "_build", break_off)
    with pytest.raises(OSError, match="disk full"):
        compiling.main()
    assert list(nothing_is_built.iterdir()) == [former]
    monkeypatch.setattr(compiling, "_build", lambda scratch: (scratch / "lib").mkdir())
    assert compiling.main() == 0
    assert list(nothing_is_built.iterdir()) == [nothing_is_built / "digest"]
