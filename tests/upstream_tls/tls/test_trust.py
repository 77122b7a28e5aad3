"""The system trust store."""

import os
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from upstream_tls.tls import trust
from upstream_tls.tls.trust import system_trust_anchors


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle of one certificate that SSL_CERT_FILE names, and no other."""
    path = tmp_path / "bundle.pem"
    path.write_text(Authority("One").pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    monkeypatch.setattr(trust, "BUNDLE_PATHS", ())
    return path


def names() -> list[str]:
    return [anchor.to_cryptography().subject.rfc4514_string() for anchor in system_trust_anchors()]


def test_ssl_cert_file_names_the_bundle(bundle: Path) -> None:
    """As for OpenSSL."""
    assert names() == ["CN=One"]


def test_contexts_share_one_copy(bundle: Path) -> None:
    """Thousands of hosts do not load it thousands of times."""
    assert system_trust_anchors() is system_trust_anchors()


def test_a_changed_file_is_read_again(bundle: Path) -> None:
    """A certificate that was taken out of the store is not trusted any more."""
    assert names() == ["CN=One"]
    bundle.write_text(Authority("Two").pem + Authority("Three").pem)
    os.utime(bundle, ns=(1, 1))
    assert names() == ["CN=Two", "CN=Three"]


def test_the_distributions_paths_are_tried_in_order(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first that exists is the store."""
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setattr(trust, "BUNDLE_PATHS", ("/nowhere/a.pem", str(bundle)))
    assert names() == ["CN=One"]


def test_without_a_store_nothing_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """No error, no anchor: then nothing verifies."""
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/a.pem")
    monkeypatch.setattr(trust, "BUNDLE_PATHS", ())
    assert system_trust_anchors() == ()
