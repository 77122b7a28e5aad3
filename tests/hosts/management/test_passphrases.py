"""Passphrases of commands."""

from pathlib import Path

import pytest
from django.core.management.base import CommandError

from hosts.management import passphrases
from hosts.management.passphrases import read_passphrase


@pytest.mark.parametrize("content", ["a  passphrase ", "a  passphrase \n", "a  passphrase \r\nmore\n"])
def test_the_first_line_of_a_file(tmp_path: Path, content: str) -> None:
    """Exactly, but for its end."""
    file = tmp_path / "passphrase"
    file.write_bytes(content.encode())
    assert read_passphrase(str(file), is_new=True) == "a  passphrase "


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Is named."""
    with pytest.raises(CommandError, match="cannot be read from"):
        read_passphrase(str(tmp_path / "absent"), is_new=False)


def test_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new passphrase is typed twice; without a terminal nobody waits for one."""
    typed = iter(["one", "one", "two", "three", "four"])
    monkeypatch.setattr(passphrases.getpass, "getpass", lambda prompt: next(typed))
    monkeypatch.setattr(passphrases.sys.stdin, "isatty", lambda: True, raising=False)
    assert read_passphrase("-", is_new=True) == "one"
    with pytest.raises(CommandError, match="differ"):
        read_passphrase("-", is_new=True)
    assert read_passphrase("-", is_new=False) == "four"
    monkeypatch.setattr(passphrases.sys.stdin, "isatty", lambda: False, raising=False)
    with pytest.raises(CommandError, match="no terminal"):
        read_passphrase("-", is_new=False)
