"""Carries a pasted private key through a form that has other errors.

Laws of this module:
- What the browser gets is sealed with the keyring; it opens for the same user, the same form and the same object only.
- Nothing is stored on the server, so nothing has to be cleaned up.
"""

import base64
import binascii

from aegis_site.kernel.keyring import SecretUnreadable, get_keyring


def seal_key(pem: str, *, user_id: object, subject: str) -> str:
    """A token for a hidden field. `subject` names what the form edits."""
    return base64.urlsafe_b64encode(get_keyring().seal(pem.encode(), _place(user_id, subject))).decode("ascii")


def open_key(token: str, *, user_id: object, subject: str) -> str | None:
    """The key of a token made for exactly this user and subject; None for any other token."""
    try:
        return get_keyring().open(base64.urlsafe_b64decode(token.encode()), _place(user_id, subject)).decode()
    except (binascii.Error, SecretUnreadable):
        return None


def _place(user_id: object, subject: str) -> bytes:
    return f"upstream_tls.form|client_key|user {user_id}|{subject}".encode()
