"""What must be in the database before any process of Aegis can work: tables, local CA, first user.

Laws of this module:
- Everything may be run again and again, and changes nothing the second time.
- A generated password is shown once, at creation, through `announce`; it is never logged and nowhere stored in clear.
- What an operator can put right is a FirstRunProblem: one text, no traceback.
"""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, transaction

from aegis_site.access.passwords import note_generated
from aegis_site.instance_lock import AlreadyRunning, InstanceLock
from aegis_site.kernel.errors import AegisError
from aegis_site.kernel.keyring import get_keyring
from aegis_site.kernel.secrets import unreadable_secrets
from localca.services import ensure_authority

ADMIN_NAME = "admin"
Announce = Callable[[str], None]


class FirstRunProblem(Exception):
    """Why this installation cannot be started, in words for an operator."""


@contextmanager
def prepared(*, announce: Announce) -> Iterator[None]:
    """Bring the database of this installation to where its processes can start; the block runs after that.

    In embedded mode nobody else can start on the data directory until the block is left. `announce` takes lines for the
    person at the terminal. Raises FirstRunProblem.
    """
    with _problems_in_words(), _alone():
        _prepare_database(announce)
        yield


def _alone() -> AbstractContextManager[object]:
    return InstanceLock(settings.AEGIS_DATA_DIR) if settings.AEGIS_IS_EMBEDDED else nullcontext()


@contextmanager
def _problems_in_words() -> Iterator[None]:
    try:
        yield
    except AlreadyRunning as error:
        raise FirstRunProblem(str(error)) from error
    except AegisError as error:
        raise FirstRunProblem(error.message) from error
    except OSError as error:
        raise FirstRunProblem(f"{error.filename or settings.AEGIS_DATA_DIR}: {error.strerror}") from error
    except DatabaseError as error:
        raise FirstRunProblem(f"the database {settings.DATABASES['default']['NAME']}: {error}".strip()) from error


def _prepare_database(announce: Announce) -> None:
    get_keyring()  # a key that cannot be used is found before a table is made
    call_command("migrate", interactive=False, verbosity=0)
    if unreadable := [str(secret) for secret in unreadable_secrets()]:
        raise FirstRunProblem(
            "AEGIS_SSL_KEY does not open these stored secrets; put the key that sealed them into AEGIS_SSL_KEY or "
            "AEGIS_SSL_KEY_PREVIOUS:\n  " + "\n  ".join(unreadable)
        )
    ensure_authority()
    _ensure_admin(announce)
    _check_writable()


def _ensure_admin(announce: Announce) -> None:
    """The first user, when there is none at all."""
    try:
        with transaction.atomic():
            if User.objects.exists():
                return
            chosen = _chosen_password()
            password = chosen or secrets.token_urlsafe(15)
            admin = User.objects.create_superuser(ADMIN_NAME, password=password)
            if not chosen:
                note_generated(admin)
    except IntegrityError:  # a second process of the same first run was faster, and has told its password
        return
    if not chosen:
        announce(f"Created the user {ADMIN_NAME} with password {password} (not shown again).")
        return
    announce(f"Created the user {ADMIN_NAME} with the password of AEGIS_ADMIN_PASSWORD.")
    try:
        validate_password(chosen)
    except ValidationError as error:
        announce(f"AEGIS_ADMIN_PASSWORD is weak: {' '.join(error.messages)}")


def _check_writable() -> None:
    """On an up-to-date database nothing was written so far, and SQLite opens a read-only file without a word."""
    if settings.AEGIS_IS_EMBEDDED and not os.access(path := settings.DATABASES["default"]["NAME"], os.W_OK):
        raise FirstRunProblem(f"{path} cannot be written; check its owner, its mode and the file system")


def _chosen_password() -> str:
    """AEGIS_ADMIN_PASSWORD, or what AEGIS_ADMIN_PASSWORD_FILE holds; empty when neither is set.

    Read here and not with the other variables, so that it is in no settings and in no other process.
    """
    if path := os.environ.get("AEGIS_ADMIN_PASSWORD_FILE"):
        return Path(path).read_text(encoding="utf-8").strip()
    return os.environ.get("AEGIS_ADMIN_PASSWORD", "")
