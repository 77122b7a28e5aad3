"""Files to hand out: the trust bundle for the operators of upstreams, and a new certificate with its key.

Laws of this module: nothing secret goes into the trust bundle, and the same CAs with the same revocation lists always
give the same bytes. What peers are to trust are roots; what they are shown by a leaf, its intermediates, they need not
have. A private key goes into the one zip for who had it made.
"""

import io
import zipfile
from collections.abc import Iterable

from django.template.loader import render_to_string
from django.utils.text import slugify

from localca.keys import key_to_pem
from localca.models import CertificateAuthority, IssuedCertificate
from localca.revocation import current_lists, without_list
from localca.selectors import active_authority, list_places, trust_anchors, trust_anchors_pem
from localca.services import IssuedBundle

BUNDLE_FILE = "aegis-trust-bundle.zip"
CERTIFICATE_FILE = "aegis-local-ca.crt"
CERTIFICATE_MEDIA_TYPE = "application/x-x509-ca-cert"
REVOCATION_LIST_FILE = "aegis-local-ca.crl"
REVOCATION_LIST_MEDIA_TYPE = "application/pkix-crl"  # RFC 5280 section 4.2.1.13: DER
PEM_MEDIA_TYPE = "application/x-pem-file"

_STEM_MAX_CHARACTERS = 60
_EARLIEST_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


class AuthorityMissing(LookupError):
    """There is no local CA yet."""


def require_authority() -> CertificateAuthority:
    """The active CA. Raises AuthorityMissing before the first run."""
    authority = active_authority()
    if authority is None:
        raise AuthorityMissing("there is no local CA yet; `manage.py prepare` creates it")
    return authority


def require_trust_anchors_pem() -> str:
    """The file `aegis-local-ca.crt`: every root that peers are to trust. Raises AuthorityMissing."""
    require_authority()
    return trust_anchors_pem()


def trust_bundle_zip() -> bytes:
    """A zip with `aegis-local-ca.crt`, `aegis-local-ca.crl` (PEM, as nginx and HAProxy read it) and `README.txt`.

    During a change of the CA both roots are in it, with the lists of all. Of lists that are not here, the README says
    whose they are and where certificates say that they are. Raises AuthorityMissing, and as `current_list` does.
    """
    require_authority()
    lists = current_lists()
    context = {
        "anchors": [anchor.facts for anchor in trust_anchors()],
        "file": CERTIFICATE_FILE,
        "list_file": REVOCATION_LIST_FILE,
        "lists": lists,
        "missing": [(authority, list_places(authority)) for authority in without_list()],
    }
    readme = render_to_string("localca/trust_bundle_readme.txt", context)
    files = (
        (CERTIFICATE_FILE, trust_anchors_pem()),
        (REVOCATION_LIST_FILE, "".join(found.pem for found in lists)),
        ("README.txt", readme),
    )
    return _zip(files)


def pair_zip(bundle: IssuedBundle, *, passphrase: bytes = b"") -> bytes:
    """A zip with a new certificate, its key (encrypted when there is a passphrase) and the root, for who asked."""
    name = file_stem(bundle.record)
    key = b"" if bundle.key is None else key_to_pem(bundle.key, passphrase=passphrase)
    return _zip(
        (
            (f"{name}.crt", bundle.chain_pem),
            (f"{name}.key", key.decode("ascii")),
            (CERTIFICATE_FILE, bundle.record.authority.root.certificate_pem),
        )
    )


def file_stem(certificate: IssuedCertificate) -> str:
    """What the files about a certificate are called, without their suffix."""
    return f"aegis-{certificate.purpose}-{certificate.serial_number}"


def authority_stem(authority: CertificateAuthority) -> str:
    """What the files about a CA are called, without their suffix: its name as far as every file system takes it."""
    name = slugify(str(authority).partition(",")[0])[:_STEM_MAX_CHARACTERS].strip("-")
    return name or f"ca-{authority.facts.serial_number}"


def _zip(files: Iterable[tuple[str, str]]) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as bundle:
        for name, text in files:
            entry = zipfile.ZipInfo(name, date_time=_EARLIEST_ZIP_TIME)
            entry.create_system = 3  # Unix, whatever this runs on: the permissions below are meant
            is_secret = name.endswith(".key")
            entry.external_attr = (0o600 if is_secret else 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            bundle.writestr(entry, text)
    return archive.getvalue()
