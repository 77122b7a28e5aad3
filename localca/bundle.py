"""The trust bundle: what the operator of an upstream needs to trust this installation's client certificates.

Laws of this module: nothing secret goes in; the same CA always gives the same bytes.
"""

import io
import zipfile

from django.template.loader import render_to_string

from localca.models import CertificateAuthority
from localca.selectors import active_authority

BUNDLE_FILE = "aegis-trust-bundle.zip"
CERTIFICATE_FILE = "aegis-local-ca.crt"
CERTIFICATE_MEDIA_TYPE = "application/x-x509-ca-cert"

_EARLIEST_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


class AuthorityMissing(LookupError):
    """There is no local CA yet."""


def require_authority() -> CertificateAuthority:
    """The active CA. Raises AuthorityMissing before the first run."""
    authority = active_authority()
    if authority is None:
        raise AuthorityMissing("there is no local CA yet; `manage.py prepare` creates it")
    return authority


def trust_bundle_zip() -> bytes:
    """A zip with `aegis-local-ca.crt` and `README.txt`. Raises AuthorityMissing."""
    authority = require_authority()
    readme = render_to_string("localca/trust_bundle_readme.txt", {"facts": authority.facts, "file": CERTIFICATE_FILE})
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as bundle:
        for name, text in ((CERTIFICATE_FILE, authority.certificate_pem), ("README.txt", readme)):
            entry = zipfile.ZipInfo(name, date_time=_EARLIEST_ZIP_TIME)
            entry.create_system = 3  # Unix, whatever this runs on: the permissions below are meant
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            bundle.writestr(entry, text)
    return archive.getvalue()
