"""data_directory: private, with secrets that are generated once."""

import base64
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from aegis_site.data_directory import (
    DataDirectoryProblem,
    ensure_data_directory,
    generate_secrets,
    make_data_directory,
)
from aegis_site.environment import DATABASE_FILE, SECRETS_FILE, read_environment

NAMES = ("AEGIS_SSL_KEY", "AEGIS_SECRET_KEY")


@pytest.fixture(autouse=True)
def _keep_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_first_run_makes_a_private_directory_and_both_secrets(tmp_path: Path) -> None:
    """0700, 0600, 32 random bytes each, and the next reading of the environment finds them."""
    variables = {"AEGIS_DATA_DIR": str(tmp_path / "new" / "var")}
    done = ensure_data_directory(read_environment(variables))
    environment = read_environment(variables)
    assert mode(environment.data_dir) == 0o700
    assert mode(environment.data_dir / SECRETS_FILE) == 0o600
    assert len(base64.b64decode(environment.ssl_key)) == 32
    assert environment.secret_key not in {"", environment.ssl_key}
    assert len(done) == 2
    assert environment.ssl_key not in " ".join(done)


def test_a_second_run_does_nothing(tmp_path: Path) -> None:
    """The secrets stay what they are and nothing is announced."""
    variables = {"AEGIS_DATA_DIR": str(tmp_path / "var")}
    ensure_data_directory(read_environment(variables))
    before = (tmp_path / "var" / SECRETS_FILE).read_bytes()
    assert ensure_data_directory(read_environment(variables)) == []
    assert (tmp_path / "var" / SECRETS_FILE).read_bytes() == before
    assert sorted(path.name for path in (tmp_path / "var").iterdir()) == [SECRETS_FILE]


def test_a_given_key_is_not_generated(tmp_path: Path) -> None:
    """What the environment sets is not also written to disk."""
    variables = {"AEGIS_DATA_DIR": str(tmp_path), "AEGIS_SSL_KEY": "0f" * 32}
    ensure_data_directory(read_environment(variables))
    text = (tmp_path / SECRETS_FILE).read_text()
    assert "AEGIS_SSL_KEY=" not in text
    assert "AEGIS_SECRET_KEY=" in text


def test_production_mode_needs_no_directory(tmp_path: Path) -> None:
    """With an external database nothing is generated: secrets are the operator's."""
    environment = read_environment(
        {
            "AEGIS_DATA_DIR": str(tmp_path / "var"),
            "AEGIS_DATABASE_URL": "postgres://db/aegis",
            "AEGIS_REDIS_URL": "redis://redis",
        }
    )
    assert ensure_data_directory(environment) == []
    assert not (tmp_path / "var").exists()


def test_a_database_without_its_key_is_refused(tmp_path: Path) -> None:
    """A new key would make every stored secret unreadable without anybody noticing."""
    (tmp_path / DATABASE_FILE).touch()
    with pytest.raises(DataDirectoryProblem, match="has a database but no AEGIS_SSL_KEY"):
        generate_secrets(tmp_path, NAMES)
    assert not (tmp_path / SECRETS_FILE).exists()


def test_a_secrets_file_is_never_added_to(tmp_path: Path) -> None:
    """A file without the wanted name is refused, with the name."""
    (tmp_path / SECRETS_FILE).write_text("AEGIS_SECRET_KEY=kept\n")
    with pytest.raises(DataDirectoryProblem, match="has no value for AEGIS_SSL_KEY"):
        generate_secrets(tmp_path, ["AEGIS_SSL_KEY"])
    assert (tmp_path / SECRETS_FILE).read_text() == "AEGIS_SECRET_KEY=kept\n"


def test_a_file_that_another_process_wrote_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two first runs at the same time one writes the secrets, and no temporary file is left."""
    real_link = os.link

    def slower_link(source: str, target: Path) -> None:
        target.write_text("AEGIS_SSL_KEY=of-the-other\n")
        real_link(source, target)

    monkeypatch.setattr(os, "link", slower_link)
    generate_secrets(tmp_path, NAMES)
    assert (tmp_path / SECRETS_FILE).read_text() == "AEGIS_SSL_KEY=of-the-other\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == [SECRETS_FILE]


def test_an_empty_or_own_directory_that_is_open_to_others_is_closed(tmp_path: Path) -> None:
    """A directory made by hand becomes private; so does one that was restored with a wrong mode."""
    tmp_path.chmod(0o755)
    assert make_data_directory(tmp_path) is False
    assert mode(tmp_path) == 0o700
    (tmp_path / DATABASE_FILE).touch()
    tmp_path.chmod(0o750)
    make_data_directory(tmp_path)
    assert mode(tmp_path) == 0o700


def test_a_directory_with_files_of_others_is_refused(tmp_path: Path) -> None:
    """AEGIS_DATA_DIR=/tmp must not close /tmp."""
    tmp_path.chmod(0o755)
    (tmp_path / "somebody").touch()
    with pytest.raises(DataDirectoryProblem, match="holds files of others"):
        make_data_directory(tmp_path)
    assert mode(tmp_path) == 0o755


def test_a_file_in_the_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    """The path is named."""
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(DataDirectoryProblem, match=f"{path} is not a directory"):
        make_data_directory(path)


def test_what_the_system_refuses_is_one_line_with_the_path() -> None:
    """A place where no directory can be made is named."""
    with pytest.raises(DataDirectoryProblem, match="/proc/aegis: No such file or directory"):
        ensure_data_directory(read_environment({"AEGIS_DATA_DIR": "/proc/aegis"}))


def test_a_full_disk_leaves_no_half_written_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line with the path, and no file."""

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataDirectoryProblem, match=f"{tmp_path}: No space left on device"):
        ensure_data_directory(read_environment({"AEGIS_DATA_DIR": str(tmp_path)}))
    assert list(tmp_path.iterdir()) == []
