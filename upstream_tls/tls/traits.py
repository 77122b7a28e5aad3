"""What a certificate may be used for, and whether its key and signature are still good enough.

Laws of this module: one question a function, about one certificate that `upstream_tls.tls.credentials` has read; no
clock and no judgement of trust.
"""

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from upstream_tls.tls.chain import is_self_signed
from upstream_tls.tls.credentials import MIN_RSA_BITS, TLS_CURVES

_WEAK_HASHES = ("md5", "sha1")


def is_ca(certificate: x509.Certificate) -> bool:
    """Whether its basic constraints say that it may issue certificates."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def may_be_trusted_as_ca(certificate: x509.Certificate) -> bool:
    """Whether OpenSSL takes it as a CA. Roots of old are version 1 and have no extensions."""
    return is_ca(certificate) or (certificate.version is x509.Version.v1 and is_self_signed(certificate))


def may_authenticate_clients(certificate: x509.Certificate) -> bool:
    """Whether its extended key usage allows TLS clients; without the extension all is allowed (RFC 5280, 4.2.1.12)."""
    return _is_for(certificate, ExtendedKeyUsageOID.CLIENT_AUTH)


def may_authenticate_servers(certificate: x509.Certificate) -> bool:
    """As `may_authenticate_clients`, for TLS servers."""
    return _is_for(certificate, ExtendedKeyUsageOID.SERVER_AUTH)


def may_sign(certificate: x509.Certificate) -> bool:
    """Whether its key usage allows to sign a handshake (RFC 8446 section 4.4.2.2)."""
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
    except x509.ExtensionNotFound:
        return True


def names_its_issuers_address(certificate: x509.Certificate) -> bool:
    """Whether it says where its issuer's certificate can be fetched (RFC 5280 section 4.2.2.1)."""
    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except x509.ExtensionNotFound:
        return False
    return any(entry.access_method == AuthorityInformationAccessOID.CA_ISSUERS for entry in access)


def has_weak_key(certificate: x509.Certificate) -> bool:
    """Whether OpenSSL's default security level refuses its key, or TLS has no signature for it."""
    try:
        key = certificate.public_key()
    except (UnsupportedAlgorithm, ValueError):
        return False
    match key:
        case rsa.RSAPublicKey():
            return key.key_size < MIN_RSA_BITS
        case ec.EllipticCurvePublicKey():
            return not isinstance(key.curve, TLS_CURVES)
        case dsa.DSAPublicKey():
            return True
    return False


def has_weak_signature(certificate: x509.Certificate) -> bool:
    """Whether it is signed with a hash in which collisions are found."""
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return False
    return algorithm is not None and algorithm.name in _WEAK_HASHES


def _is_for(certificate: x509.Certificate, usage: x509.ObjectIdentifier) -> bool:
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return usage in usages or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usages
