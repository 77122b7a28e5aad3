"""The data directory of an installation on one machine, and the secrets that are generated into it.

Laws of this module:
- The directory is 0700, its secrets file 0600. A secrets file, once there, is never written again.
- A directory that holds somebody else's files is refused, not tightened.
- What goes wrong is one text that names the path; no text holds a secret.
- Django is not needed here: settings cannot be read before the secrets exist.
"""

import base64
import os
import secrets
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path

from aegis_site.environment import DATABASE_FILE, SECRETS_FILE, Environment

_OWN_FILES = (SECRETS_FILE, DATABASE_FILE)
# For mkstemp and for what children create: nothing in the data directory is for other users.
PRIVATE_UMASK = 0o077


class DataDirectoryProblem(Exception):
    """The data directory cannot be used as it is. The text says why and what to do."""


def ensure_data_directory(environment: Environment) -> list[str]:
    """Make the data directory and the secrets of the embedded mode, where they are missing; nothing in production.

    Returns what was done, in lines for the person at the terminal. Called before Django reads its settings, which need
    the secrets. Raises DataDirectoryProblem.
    """
    if not environment.is_embedded:
        return []
    os.umask(PRIVATE_UMASK)
    path, done = environment.data_dir, []
    values = {"AEGIS_SSL_KEY": environment.ssl_key, "AEGIS_SECRET_KEY": environment.secret_key}
    missing = [name for name, value in values.items() if not value]
    try:
        if make_data_directory(path):
            done.append(f"Created the data directory {path}.")
        if missing:
            generate_secrets(path, missing)
            done.append(f"Generated {' and '.join(missing)} into {path / SECRETS_FILE}; keep a copy of it safe.")
    except OSError as error:
        raise DataDirectoryProblem(f"{error.filename or path}: {error.strerror}") from error
    return done


def make_data_directory(path: Path) -> bool:
    """Make sure that `path` is a directory that only this user can enter. Returns whether it was created."""
    try:
        path.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        if not path.is_dir():
            raise DataDirectoryProblem(f"{path} is not a directory; choose another AEGIS_DATA_DIR") from None
    else:
        return True
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        if any(path.iterdir()) and not any((path / name).exists() for name in _OWN_FILES):
            raise DataDirectoryProblem(f"{path} holds files of others; choose an empty directory as AEGIS_DATA_DIR")
        path.chmod(0o700)
    return False


def generate_secrets(directory: Path, names: Iterable[str]) -> None:
    """Write new random values for `names` (AEGIS_SSL_KEY, AEGIS_SECRET_KEY) into the secrets file.

    Atomic and exclusive: of several processes one writes, and whatever file is there stays. Raises
    DataDirectoryProblem when there is a database already but its AEGIS_SSL_KEY is what is missing.
    """
    wanted = list(names)
    path = directory / SECRETS_FILE
    if path.exists():
        raise DataDirectoryProblem(f"{path} has no value for {' and '.join(wanted)}; restore it or add the line")
    if "AEGIS_SSL_KEY" in wanted and (directory / DATABASE_FILE).exists():
        raise DataDirectoryProblem(
            f"{directory} has a database but no AEGIS_SSL_KEY. Its secrets open with the key that sealed them only: "
            f"restore {SECRETS_FILE} or set AEGIS_SSL_KEY; to start anew, choose an empty AEGIS_DATA_DIR"
        )
    lines = ["# Generated on the first run. Keep a copy of AEGIS_SSL_KEY: without it no stored secret opens."]
    lines += [f"{name}={base64.b64encode(secrets.token_bytes(32)).decode()}" for name in wanted]
    _write_once(path, "\n".join(lines) + "\n")


def _write_once(path: Path, text: str) -> None:
    """Put `text` at `path`, complete or not at all, unless there is a file already."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        # link(2) fails when the name is taken; rename(2) would replace another process's secrets.
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        os.unlink(temporary)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
