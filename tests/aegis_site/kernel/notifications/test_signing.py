"""signing: by the algorithm of Standard Webhooks."""

import base64
import hashlib
import hmac

from aegis_site.kernel.notifications.signing import signed_fields


def test_the_example_of_the_specification() -> None:
    """Its key, id, time and body give its signature (the test vector of the reference libraries)."""
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    fields = signed_fields(
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp_s=1614265330,
        body=b'{"test": 2432232314}',
        key=key,
    )
    assert fields == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_a_receiver_can_verify_it() -> None:
    """HMAC-SHA256 over id, time and body, joined by dots."""
    fields = signed_fields(message_id="msg_1", timestamp_s=5, body=b"{}", key=b"k" * 32)
    expected = base64.b64encode(hmac.new(b"k" * 32, b"msg_1.5.{}", hashlib.sha256).digest()).decode()
    assert fields["webhook-signature"] == f"v1,{expected}"
