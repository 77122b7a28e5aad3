"""first_run: makes what is missing, tells a generated password once, and refuses in words."""

import os
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError
from pytest_django.fixtures import Settings

from aegis_site import first_run
from aegis_site.access.passwords import has_generated_password
from aegis_site.first_run import FirstRunProblem, prepared
from aegis_site.instance_lock import AlreadyRunning, InstanceLock
from localca.models import CertificateAuthority
from localca.services import ensure_authority

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _own_directory(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.AEGIS_DATA_DIR = tmp_path
    monkeypatch.delenv("AEGIS_ADMIN_PASSWORD", raising=False)
    monkeypatch.delenv("AEGIS_ADMIN_PASSWORD_FILE", raising=False)


def run() -> list[str]:
    lines: list[str] = []
    with prepared(announce=lines.append):
        pass
    return lines


def test_a_first_run_makes_the_authority_and_the_admin() -> None:
    """The generated password is announced and signs in."""
    (line,) = run()
    admin = User.objects.get()
    password = line.split()[-4]
    assert line == f"Created the user admin with password {password} (not shown again)."
    assert len(password) == 20
    assert has_generated_password(admin)
    assert (admin.username, admin.is_superuser, admin.check_password(password)) == ("admin", True, True)
    assert CertificateAuthority.objects.count() == 1


def test_a_second_run_changes_nothing() -> None:
    """Nothing is announced; the CA and the password stay."""
    run()
    before = (User.objects.get().password, CertificateAuthority.objects.get().certificate_pem)
    assert run() == []
    assert (User.objects.get().password, CertificateAuthority.objects.get().certificate_pem) == before


def test_a_chosen_password_is_used_and_not_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    """AEGIS_ADMIN_PASSWORD is the operator's; it is not repeated."""
    monkeypatch.setenv("AEGIS_ADMIN_PASSWORD", "correct horse battery")
    assert run() == ["Created the user admin with the password of AEGIS_ADMIN_PASSWORD."]
    assert User.objects.get().check_password("correct horse battery")
    assert not has_generated_password(User.objects.get())


def test_a_password_may_come_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newline at the end of the file is not part of it."""
    (tmp_path / "password").write_text("correct horse battery\n")
    monkeypatch.setenv("AEGIS_ADMIN_PASSWORD_FILE", str(tmp_path / "password"))
    run()
    assert User.objects.get().check_password("correct horse battery")


def test_a_weak_password_is_taken_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the operator's decision, but not unnoticed; the password itself is not shown."""
    monkeypatch.setenv("AEGIS_ADMIN_PASSWORD", "letmein")
    _, warning = run()
    assert warning.startswith("AEGIS_ADMIN_PASSWORD is weak: This password is too short.")
    assert "letmein" not in warning
    assert User.objects.get().check_password("letmein")


def test_an_installation_with_users_gets_no_admin() -> None:
    """Who renamed or removed `admin` does not find it again."""
    User.objects.create_user("alice")
    assert run() == []
    assert not User.objects.filter(username="admin").exists()


def test_a_running_instance_is_left_alone(tmp_path: Path) -> None:
    """Nothing is migrated under a running instance."""
    with InstanceLock(tmp_path), pytest.raises(FirstRunProblem, match=f"already runs on {tmp_path} .pid {os.getpid()}"):
        run()
    assert not User.objects.exists()


def test_production_needs_no_data_directory(settings: Settings, tmp_path: Path) -> None:
    """With an external database there is nothing to lock."""
    settings.AEGIS_IS_EMBEDDED = False
    settings.AEGIS_DATA_DIR = tmp_path / "absent"
    run()
    assert User.objects.exists()


def test_a_wrong_key_is_refused_and_names_the_rows(settings: Settings) -> None:
    """The operator learns which secrets do not open."""
    authority = ensure_authority()
    settings.AEGIS_SSL_KEY = "ab" * 32
    with pytest.raises(FirstRunProblem, match="AEGIS_SSL_KEY does not open") as problem:
        run()
    assert str(authority.pk) in str(problem.value)
    assert not User.objects.exists()


def test_a_key_that_cannot_be_used_is_refused_before_anything_is_made(settings: Settings) -> None:
    """A short passphrase is no key, and is not repeated."""
    settings.AEGIS_SSL_KEY = "short"
    with pytest.raises(FirstRunProblem, match="AEGIS_SSL_KEY must be") as problem:
        run()
    assert "'short'" not in str(problem.value)
    assert not CertificateAuthority.objects.exists()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            OperationalError("attempt to write a readonly database"),
            "the database .*: attempt to write a readonly database",
        ),
        (PermissionError(13, "Permission denied", "/data/x"), "/data/x: Permission denied"),
        (OSError(28, "No space left on device"), ".*: No space left on device"),
    ],
)
def test_what_the_system_refuses_is_one_line(monkeypatch: pytest.MonkeyPatch, error: Exception, text: str) -> None:
    """A read-only or full disk is explained without a traceback."""

    def fail() -> None:
        raise error

    monkeypatch.setattr(first_run, "ensure_authority", fail)
    with pytest.raises(FirstRunProblem, match=f"^{text}$"):
        run()


def test_a_read_only_database_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when there was nothing to write at this start."""
    run()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(FirstRunProblem, match="cannot be written"):
        run()


def test_the_block_runs_under_the_lock(tmp_path: Path) -> None:
    """After the database is ready, and while nobody else can start."""
    with prepared(announce=lambda line: None):
        assert CertificateAuthority.objects.exists()
        with pytest.raises(AlreadyRunning), InstanceLock(tmp_path):
            pass
    with InstanceLock(tmp_path):
        pass
