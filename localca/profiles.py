"""What the certificates of the local CA look like, and the proof that one looks so.

Laws of this module: no Django, no clock (time is an argument), no storage. Issuing has stages, each with a type of its
own: a `Plan` says what a certificate will say, `_signed` makes a certificate of it, and only what `_proved` has read
back, linted and validated as an independent peer would is returned.
"""

import datetime
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import verification
from cryptography.x509.oid import NameOID
from OpenSSL import crypto

from localca.keys import PrivateKey, PublicKey, signature_hash
from localca.lint.subject import Role
from localca.lint.table import lint
from localca.permitted import CLIENT_AUTH, SERVER_AUTH, NameConstraints, purposes_of

ROOT_VALIDITY = datetime.timedelta(days=3652)  # ten years, two or three leap days included

# Half of a root's, so that one successor fits under the same root.
INTERMEDIATE_VALIDITY = datetime.timedelta(days=1826)

# The CA/Browser Forum allows 398 days, so that clients with that limit built in accept what is issued here; one day
# less than that because both ends of a validity count (RFC 5280 section 4.1.2.5).
LEAF_VALIDITY = datetime.timedelta(days=397)

# What may be asked for. Apple's systems refuse certificates of private CAs, too, that are valid for longer.
LEAF_VALIDITY_MAX = datetime.timedelta(days=825)

# Peers whose clocks run late accept a certificate that was issued a moment ago.
BACKDATE = datetime.timedelta(minutes=5)

_ROLES = {CLIENT_AUTH: Role.CLIENT, SERVER_AUTH: Role.SERVER}

_OTHERWISE: dict[type[x509.ExtensionType], str] = {
    x509.BasicConstraints: "it has other basic constraints",
    x509.KeyUsage: "it has another key usage",
    x509.ExtendedKeyUsage: "it has another purpose",
    x509.SubjectAlternativeName: "it has other names",
}

_NO_KEY_USAGE = dict.fromkeys(
    [
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ],
    False,
)


class ProfileError(ValueError):
    """A certificate cannot be issued as asked, or came out other than its profile says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """A CA's certificate with its private key, open in memory.

    `above` are the certificates of who issued it, up to the root: empty for a root. `crl_url` is put into what it
    issues.
    """

    certificate: x509.Certificate
    key: PrivateKey
    above: tuple[x509.Certificate, ...] = ()
    crl_url: str = ""

    @property
    def path(self) -> tuple[x509.Certificate, ...]:
        """This CA's certificate, then those above it; the last one is the root's."""
        return (self.certificate, *self.above)

    def __repr__(self) -> str:
        return f"Issuer({self.certificate.subject.rfc4514_string()!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a certificate below a CA will say, apart from what the issuer adds."""

    role: Role
    subject: x509.Name
    public_key: PublicKey
    not_before: datetime.datetime
    not_after: datetime.datetime
    extensions: tuple[tuple[x509.ExtensionType, bool], ...]


def certificate_to_pem(certificate: x509.Certificate) -> str:
    """The certificate as PEM text."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")


def build_root(*, common_name: str, now: datetime.datetime) -> Issuer:
    """A new self-signed root with a new key.

    Path length 1 leaves room for one intermediate beneath it.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    plan = Plan(
        role=Role.ROOT,
        subject=_name(common_name),
        public_key=key.public_key(),
        not_before=now - BACKDATE,
        not_after=now + ROOT_VALIDITY,
        extensions=_extensions_of_authority(path_length=1),
    )
    builder = _builder(plan, issuer=plan.subject).add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
    )
    certificate = builder.sign(key, signature_hash(key))
    _check_lint(certificate, role=Role.ROOT, path=(certificate,))
    return Issuer(certificate=certificate, key=key)


def build_intermediate(*, issuer: Issuer, common_name: str, now: datetime.datetime, crl_url: str = "") -> Issuer:
    """A CA beneath `issuer` with a new key, for leafs only (path length 0); `crl_url` goes into what it issues.

    Raises ProfileError as `build_leaf` does.
    """
    _check_time(issuer, now=now)
    key = ec.generate_private_key(ec.SECP256R1())
    plan = Plan(
        role=Role.INTERMEDIATE,
        subject=_name(common_name),
        public_key=key.public_key(),
        not_before=_earliest(issuer, now=now),
        not_after=_latest(issuer, now + INTERMEDIATE_VALIDITY),
        extensions=_extensions_of_authority(path_length=0),
    )
    certificate = _signed(plan, issuer)
    _check_contents(certificate, plan=plan, issuer=issuer)
    built = Issuer(certificate=certificate, key=key, above=issuer.path, crl_url=crl_url)
    check_authority(built, now=now)
    return built


def check_authority(issuer: Issuer, *, now: datetime.datetime, role: Role = Role.INTERMEDIATE) -> None:
    """That a CA beneath another can issue: the lint, and certificates for a key that is thrown away.

    Raises ProfileError. What it is not for, and names that it does not permit, are no fault of it: a proof keeps to
    what it permits, and one purpose is enough.
    """
    _check_lint(issuer.certificate, role=role, path=issuer.above)
    key = ec.generate_private_key(ec.SECP256R1())
    constraints = NameConstraints(issuer.path)
    is_proved = False
    for purpose in purposes_of(issuer.path):
        name = next(constraints.examples(purpose=purpose), None)
        if name is not None:
            build_leaf(
                issuer=issuer,
                purpose=purpose,
                common_name="proof",
                names=[name],
                public_key=key.public_key(),
                now=now,
            )
            is_proved = True
    if not is_proved:
        raise ProfileError(
            "its name constraints, or those of a CA above, permit no name that a certificate here can have"
        )


def build_leaf(
    *,
    issuer: Issuer,
    purpose: x509.ObjectIdentifier,
    common_name: str,
    names: list[x509.GeneralName],
    public_key: PublicKey,
    now: datetime.datetime,
    validity: datetime.timedelta = LEAF_VALIDITY,
) -> x509.Certificate:
    """A certificate for exactly one purpose (`CLIENT_AUTH` or `SERVER_AUTH`), proved before it is returned.

    `names` become the subject alternative names; there must be one. The subject is the common name, beneath a directory
    name where name constraints demand one. The validity stays within those of the issuer and of all above it. Raises
    ProfileError when one of them is not valid at this time, or when the proof fails.
    """
    _check_time(issuer, now=now)
    plan = Plan(
        role=_ROLES[purpose],
        subject=NameConstraints(issuer.path).subject_of(common_name),
        public_key=public_key,
        not_before=_earliest(issuer, now=now),
        not_after=_latest(issuer, now + validity),
        extensions=(
            (x509.BasicConstraints(ca=False, path_length=None), True),
            # RSA keys too: key encipherment is for TLS 1.2 without forward secrecy.
            (_key_usage("digital_signature"), True),
            (x509.ExtendedKeyUsage([purpose]), False),
            (x509.SubjectAlternativeName(names), False),
        ),
    )
    return _proved(_signed(plan, issuer), plan=plan, issuer=issuer, purpose=purpose, now=now)


def _signed(plan: Plan, issuer: Issuer) -> x509.Certificate:
    identifier = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = _builder(plan, issuer=issuer.certificate.subject).add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
    )
    if issuer.crl_url:
        name = x509.UniformResourceIdentifier(issuer.crl_url)
        point = x509.DistributionPoint(full_name=[name], relative_name=None, reasons=None, crl_issuer=None)
        builder = builder.add_extension(x509.CRLDistributionPoints([point]), critical=False)
    return builder.sign(issuer.key, signature_hash(issuer.key))


def _proved(
    leaf: x509.Certificate, *, plan: Plan, issuer: Issuer, purpose: x509.ObjectIdentifier, now: datetime.datetime
) -> x509.Certificate:
    """The leaf, after all three proofs. Raises ProfileError."""
    _check_contents(leaf, plan=plan, issuer=issuer)
    _check_lint(leaf, role=plan.role, path=issuer.path)
    verify_leaf(leaf, path=issuer.path, purpose=purpose, now=now)
    return leaf


def _check_contents(certificate: x509.Certificate, *, plan: Plan, issuer: Issuer) -> None:
    """That it says what was planned, read back from the signed bytes. Raises ProfileError."""
    certificate = x509.load_der_x509_certificate(certificate.public_bytes(serialization.Encoding.DER))
    said = {type(extension.value): extension.value for extension in certificate.extensions}
    requirements = {
        "it is for another key": certificate.public_key() == plan.public_key,
        "it has another subject": certificate.subject == plan.subject,
        "it has another issuer": certificate.issuer == issuer.certificate.subject,
    }
    requirements |= {_OTHERWISE[type(planned)]: said.get(type(planned)) == planned for planned, _ in plan.extensions}
    if failed := [problem for problem, holds in requirements.items() if not holds]:
        raise ProfileError(f"the new certificate is not as asked for: {', '.join(failed)}")


def _check_lint(certificate: x509.Certificate, *, role: Role, path: tuple[x509.Certificate, ...]) -> None:
    """Raises ProfileError with every finding."""
    if findings := lint(certificate, role=role, path=path):
        raise ProfileError(f"the certificate fails the lint: {'; '.join(map(str, findings))}")


def verify_leaf(
    leaf: x509.Certificate,
    *,
    path: tuple[x509.Certificate, ...],
    purpose: x509.ObjectIdentifier,
    now: datetime.datetime,
) -> None:
    """Validates the path from `leaf` through `path`, the root last, for `purpose`, as a careful peer would.

    Raises ProfileError.
    """
    if NameConstraints(path):
        _verify_constrained(leaf, path=path, now=now)
        return
    *intermediates, root = path
    policy = verification.PolicyBuilder().store(verification.Store([root])).time(now)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    try:
        if purpose == CLIENT_AUTH:
            policy.build_client_verifier().verify(leaf, intermediates)
        else:
            policy.build_server_verifier(_subject_to_expect(names)).verify(leaf, intermediates)
    except verification.VerificationError as error:
        raise ProfileError(f"the new certificate does not verify: {error}") from error


def _verify_constrained(leaf: x509.Certificate, *, path: tuple[x509.Certificate, ...], now: datetime.datetime) -> None:
    """By OpenSSL: `cryptography` knows no constraints on URIs and subjects, and takes no wildcard beneath any.

    Raises ProfileError. Purposes are left to the lint.
    """
    *intermediates, root = map(crypto.X509.from_cryptography, path)
    store = crypto.X509Store()
    store.add_cert(root)
    store.set_time(now)
    try:
        crypto.X509StoreContext(store, crypto.X509.from_cryptography(leaf), intermediates).verify_certificate()
    except crypto.X509StoreContextError as error:
        raise ProfileError(f"the new certificate does not verify: {error}") from error


def _subject_to_expect(names: x509.SubjectAlternativeName) -> verification.Subject:
    """What a client would ask the server for: the first name, with a wildcard filled in."""
    for name in names:
        if isinstance(name, x509.DNSName):
            return x509.DNSName(name.value.replace("*", "any", 1))
        if isinstance(name, x509.IPAddress):
            return name
    raise ProfileError("a server certificate needs a DNS name or an IP address")


def _check_time(issuer: Issuer, *, now: datetime.datetime) -> None:
    """Raises ProfileError when this machine's clock lies outside of the validity of a CA of the path."""
    for certificate in issuer.path:
        name = certificate.subject.rfc4514_string()
        problem = ""
        if now < certificate.not_valid_before_utc:
            begin = certificate.not_valid_before_utc
            problem = f"{name} begins {begin:%Y-%m-%d %H:%M} UTC, and this machine's clock says {now:%Y-%m-%d %H:%M}"
        elif now >= certificate.not_valid_after_utc:
            problem = f"{name} ended {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
        if problem:
            raise ProfileError(f"the CA's own certificate is not valid at this time: {problem}")


def _earliest(issuer: Issuer, *, now: datetime.datetime) -> datetime.datetime:
    return max(now - BACKDATE, *(certificate.not_valid_before_utc for certificate in issuer.path))


def _latest(issuer: Issuer, wanted: datetime.datetime) -> datetime.datetime:
    return min(wanted, *(certificate.not_valid_after_utc for certificate in issuer.path))


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(plan: Plan, *, issuer: x509.Name) -> x509.CertificateBuilder:
    builder = (
        x509.CertificateBuilder()
        .subject_name(plan.subject)
        .issuer_name(issuer)
        .public_key(plan.public_key)
        .serial_number(x509.random_serial_number())  # 159 random bits: positive, 20 octets at most (RFC 5280 4.1.2.2)
        .not_valid_before(plan.not_before)
        .not_valid_after(plan.not_after)
    )
    for extension, is_critical in plan.extensions:
        builder = builder.add_extension(extension, critical=is_critical)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(plan.public_key), critical=False)


def _extensions_of_authority(*, path_length: int) -> tuple[tuple[x509.ExtensionType, bool], ...]:
    return (
        (x509.BasicConstraints(ca=True, path_length=path_length), True),
        (_key_usage("key_cert_sign", "crl_sign"), True),
    )


def _key_usage(*usages: str) -> x509.KeyUsage:
    return x509.KeyUsage(**(_NO_KEY_USAGE | dict.fromkeys(usages, True)))
