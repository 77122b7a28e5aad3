"""Reads certificate signing requests (PKCS#10, RFC 2986).

Laws of this module: of a request, only the key counts, and its names when the caller wants them; what else it asks for
(being a CA, other usages, longer validity) is never looked at. Refusals are django ValidationErrors.
"""

from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import NameOID
from django.core.exceptions import ValidationError

from localca.keys import KeyType, PublicKey, UnsupportedKey, supported_key

# A request with an RSA key of 4096 bits and a hundred long names has 40 KiB.
MAX_REQUEST_BYTES = 64 * 1024

_BEGIN = b"-----BEGIN "
_MALFORMED = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningRequest:
    """A request whose sender has proved to hold the private key."""

    request: x509.CertificateSigningRequest
    public_key: PublicKey
    key_type: KeyType

    def common_name(self) -> str:
        """The subject's common name, empty when there is none. Raises ValidationError for several."""
        try:
            names = [str(name.value) for name in self.request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        except _MALFORMED as error:
            raise _damaged() from error
        if len(names) > 1:
            raise ValidationError("The request has several common names.", code="invalid")
        return names[0] if names else ""

    def subject_alt_names(self) -> tuple[str, ...]:
        """As `DNS:x`, `IP:192.0.2.1`, `URI:spiffe://x`. Raises ValidationError for other kinds of names."""
        try:
            extension = self.request.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        except x509.ExtensionNotFound:
            return ()
        except _MALFORMED as error:
            raise _damaged() from error
        return tuple(_written(name) for name in extension.value)


def read_signing_request(pem: str) -> SigningRequest:
    """The one request in `pem`. Raises ValidationError unless it is signed with the key that it asks a name for."""
    text = pem.encode("utf-8", "replace")
    if len(text) > MAX_REQUEST_BYTES:
        raise ValidationError(f"The request is larger than {MAX_REQUEST_BYTES // 1024} KiB.", code="max_length")
    if b"PRIVATE KEY-----" in text:
        raise ValidationError("This holds a private key: a signing request goes without it.", code="pem_swapped")
    if text.count(_BEGIN) != 1:
        raise ValidationError("This is not one PEM block -----BEGIN CERTIFICATE REQUEST-----.", code="bad_pem")
    try:
        request = x509.load_pem_x509_csr(text)
        is_signed = request.is_signature_valid
        public_key, key_type = supported_key(request.public_key())
    except UnsupportedKey as error:
        raise ValidationError(str(error), code="unsupported_key") from error
    except _MALFORMED as error:
        raise _damaged() from error
    if not is_signed:
        message = "The request is not signed with its own key, so nobody has proved to hold the private key."
        raise ValidationError(message, code="bad_signature")
    return SigningRequest(request=request, public_key=public_key, key_type=key_type)


def _written(name: x509.GeneralName) -> str:
    match name:
        case x509.DNSName():
            return f"DNS:{name.value}"
        case x509.IPAddress():
            return f"IP:{name.value}"
        case x509.UniformResourceIdentifier():
            return f"URI:{name.value}"
    message = "The request has a name that is neither a DNS name, an IP address nor a URI."
    raise ValidationError(message, code="unsupported_name")


def _damaged() -> ValidationError:
    return ValidationError("The signing request is damaged or incomplete.", code="bad_pem")
