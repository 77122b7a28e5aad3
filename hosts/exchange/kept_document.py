"""Carries a document from the page that shows what it would change to the press of the button that does it.

Laws of this module:
- What the browser gets is sealed with the keyring; it opens for the same user only.
- Nothing is stored on the server, so nothing has to be cleaned up.
"""

import base64
import binascii
import json
import zlib
from typing import Any

from aegis_site.kernel.keyring import SecretUnreadable, get_keyring


def seal_document(document: Any, *, user_id: object) -> str:
    """A token for a hidden field, shorter than the document."""
    packed = zlib.compress(json.dumps(document).encode())
    return base64.urlsafe_b64encode(get_keyring().seal(packed, _place(user_id))).decode("ascii")


def open_document(token: str, *, user_id: object) -> Any:
    """The document of a token that was made for this user; None for any other token."""
    try:
        packed = get_keyring().open(base64.urlsafe_b64decode(token.encode()), _place(user_id))
    except (binascii.Error, UnicodeEncodeError, SecretUnreadable):
        return None
    # It is ours, so it is no bomb.
    return json.loads(zlib.decompress(packed))


def _place(user_id: object) -> bytes:
    return f"hosts.exchange|document|user {user_id}".encode()
