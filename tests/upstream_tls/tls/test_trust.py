"""The system trust store."""

import datetime
import os
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.upstream_tls.tls.pump import shake_hands
from upstream_tls.tls import trust
from upstream_tls.tls.context import build_context
from upstream_tls.tls.trust import system_trust_anchors
from upstream_tls.zoo.member import settings
from upstream_tls.zoo.pki import PKI, pem
from upstream_tls.zoo.servers import TLSUpstream


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


def test_system_trust_verifies_when_no_ca_is_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundle that SSL_CERT_FILE names, and nobody else's."""
    pki = PKI(b"tests of trust", datetime.datetime.now(datetime.UTC))
    bundle = tmp_path / "bundle.crt"
    bundle.write_bytes(pem(pki.root.certificate) + pem(pki.clients_root.certificate))
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    assert len(system_trust_anchors()) == 2
    context = build_context(settings(pki, ca_pem=b""))
    assert shake_hands(context, TLSUpstream(identity=pki.server())).error is None
    error = shake_hands(context, TLSUpstream(identity=pki.server(issuer=pki.stranger))).error
    assert error is not None
    assert "system trust store" in error.cause
