"""What a caller wants changed."""

from upstream_tls.changes import KEEP, UpstreamTLSChanges


def test_secrets_do_not_show() -> None:
    """A repr of changes holds neither the key nor the passphrase."""
    shown = repr(UpstreamTLSChanges(client_key="canary key", client_key_passphrase="canary passphrase"))
    assert "canary" not in shown
    assert "enabled=KEEP" in shown


def test_nothing_is_changed_unless_said() -> None:
    """Every value is KEEP by default."""
    changes = UpstreamTLSChanges()
    assert changes.client_key is changes.enabled is changes.server_name is KEEP
