"""What a caller wants changed."""

from upstream_tls.changes import KEEP, UpstreamTLSChanges


def test_secrets_do_not_show() -> None:
    """Neither the key nor what opens or may contain it is in a repr."""
    shown = repr(
        UpstreamTLSChanges(
            client_certificate="canary combined",
            client_key="canary key",
            client_pkcs12=b"canary file",
            client_key_passphrase="canary passphrase",
        )
    )
    assert "canary" not in shown
    assert "enabled=KEEP" in shown


def test_nothing_is_changed_unless_said() -> None:
    """Every value is KEEP by default."""
    changes = UpstreamTLSChanges()
    assert changes.client_key is changes.enabled is changes.server_name is KEEP
