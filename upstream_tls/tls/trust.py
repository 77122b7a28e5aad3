"""The system trust store as certificates that contexts share.

Laws of this module: loaded once per change of the file, so that thousands of contexts hold one copy; a machine without
a trust store yields none, and then nothing verifies.
"""

import functools
import os
import warnings
from pathlib import Path

from cryptography import x509
from cryptography.utils import CryptographyDeprecationWarning
from OpenSSL.crypto import X509

# Where Debian, Alpine, Fedora and RHEL, openSUSE, and Arch keep the bundle.
BUNDLE_PATHS = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def system_trust_anchors() -> tuple[X509, ...]:
    """The certificates of the system trust store; SSL_CERT_FILE names another bundle, as for OpenSSL."""
    for name in filter(None, (os.environ.get("SSL_CERT_FILE"), *BUNDLE_PATHS)):
        path = Path(name)
        try:
            changed_ns = path.stat().st_mtime_ns
        except OSError:
            continue
        return _anchors(path, changed_ns)
    return ()


@functools.lru_cache(maxsize=1)
def _anchors(path: Path, changed_ns: int) -> tuple[X509, ...]:
    with warnings.catch_warnings():
        # Some old public roots have serial numbers that today's rules forbid; they are still trusted by the system.
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        return tuple(X509.from_cryptography(found) for found in x509.load_pem_x509_certificates(path.read_bytes()))
