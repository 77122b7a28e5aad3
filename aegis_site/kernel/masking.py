"""Values that may be secrets though they stand in ordinary columns, made harmless for the audit log and exports.

Laws of this module: what is masked cannot be guessed offline, and equal values have equal masks, so that a change is
seen. When in doubt a value is masked.
"""

import re

from django.utils.crypto import salted_hmac

MASK = "•••"

# Field names of credentials: Authorization, Proxy-Authorization, Cookie, Set-Cookie, X-Api-Key, X-Auth-Token,
# Ocp-Apim-Subscription-Key, X-Functions-Key, X-Amz-Signature and what applications make up in their likeness.
_SENSITIVE_NAME = re.compile(
    r"authori[sz]ation|cookie|token|secret|passw|passphrase|credential|signature|session|bearer|jwt|api[-_]?key"
    r"|(^|[-_])(key|auth|pwd)$",
    re.IGNORECASE,
)
# Authentication schemes (RFC 9110 section 11.1) under any other name, and userinfo in a URL.
_SENSITIVE_VALUE = re.compile(r"^\s*(basic|bearer|digest|negotiate|token)\s+\S|://[^/\s@]*@", re.IGNORECASE)


def is_sensitive_field(name: str, value: str = "") -> bool:
    """Whether the value of an HTTP field, or of any setting that is named so, may be a credential."""
    return bool(_SENSITIVE_NAME.search(name) or _SENSITIVE_VALUE.search(value))


def masked(value: str) -> str:
    """A mask with a keyed digest: another value has another mask. Nothing stays nothing."""
    return f"{MASK} {salted_hmac('aegis.masking', value, algorithm='sha256').hexdigest()[:12]}" if value else ""
