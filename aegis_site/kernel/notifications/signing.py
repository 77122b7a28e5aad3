"""Signatures of webhooks, as Standard Webhooks has them (https://www.standardwebhooks.com).

Laws of this module: pure; exactly the specification, so that its libraries verify what is signed here.
"""

import base64
import hashlib
import hmac


def signed_fields(*, message_id: str, timestamp_s: int, body: bytes, key: bytes) -> dict[str, str]:
    """The three header fields. What is signed is `id.timestamp.body`, with HMAC-SHA256."""
    content = f"{message_id}.{timestamp_s}.".encode() + body
    signature = base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode("ascii")
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": f"v1,{signature}",
    }
