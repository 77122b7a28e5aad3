"""The certificates of the local CA, extension by extension, and what validates them."""

import datetime
import ipaddress
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from localca import profiles
from localca.keys import generate_key, key_to_pem
from localca.profiles import Issuer, ProfileError, build_leaf, build_root, verify_leaf

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)  # openssl(1) checks against the real clock
CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER = ExtendedKeyUsageOID.SERVER_AUTH
NAMES: list[x509.GeneralName] = [x509.DNSName("orders.example.com")]


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return build_root(common_name="Aegis Local CA test", now=NOW)


def leaf_of(
    issuer: Issuer,
    *,
    purpose: x509.ObjectIdentifier = CLIENT,
    names: list[x509.GeneralName] = NAMES,
    now: datetime.datetime = NOW,
) -> x509.Certificate:
    key = generate_key()
    return build_leaf(
        issuer=issuer, purpose=purpose, common_name="orders", names=names, public_key=key.public_key(), now=now
    )


def extension(certificate: x509.Certificate, kind: type[x509.ExtensionType]) -> x509.Extension[x509.ExtensionType]:
    return certificate.extensions.get_extension_for_class(kind)


def test_the_root(issuer: Issuer) -> None:
    """EC P-256, ten years, critical basic constraints with path length 1, critical key usage, key identifiers."""
    root = issuer.certificate
    public_key = root.public_key()
    assert isinstance(public_key, ec.EllipticCurvePublicKey)
    assert public_key.curve.name == "secp256r1"
    assert root.not_valid_before_utc == NOW - datetime.timedelta(minutes=5)
    assert root.not_valid_after_utc.year == NOW.year + 10
    assert extension(root, x509.BasicConstraints) == x509.Extension(
        x509.BasicConstraints.oid, True, x509.BasicConstraints(ca=True, path_length=1)
    )
    usage = extension(root, x509.KeyUsage)
    assert usage.critical
    assert [name for name in profiles._NO_KEY_USAGE if "only" not in name and getattr(usage.value, name)] == [
        "key_cert_sign",
        "crl_sign",
    ]
    identifier = x509.SubjectKeyIdentifier.from_public_key(public_key)
    assert extension(root, x509.SubjectKeyIdentifier).value == identifier
    assert extension(
        root, x509.AuthorityKeyIdentifier
    ).value == x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
    root.verify_directly_issued_by(root)


@pytest.mark.parametrize("purpose", [CLIENT, SERVER])
def test_a_leaf(issuer: Issuer, purpose: x509.ObjectIdentifier) -> None:
    """One purpose, digital signature only, no CA, names, and key identifiers that lead to the root."""
    leaf = leaf_of(issuer, purpose=purpose)
    assert extension(leaf, x509.BasicConstraints) == x509.Extension(
        x509.BasicConstraints.oid, True, x509.BasicConstraints(ca=False, path_length=None)
    )
    usage = extension(leaf, x509.KeyUsage)
    assert usage.critical
    assert [name for name in profiles._NO_KEY_USAGE if "only" not in name and getattr(usage.value, name)] == [
        "digital_signature"
    ]
    assert list(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [purpose]
    assert list(leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value) == NAMES
    authority_key = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    subject_key = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert authority_key.key_identifier == subject_key.digest


def test_serial_numbers_are_long_random_and_positive(issuer: Issuer) -> None:
    """Serial numbers are positive, at most 20 octets, and never the same."""
    serials = {leaf_of(issuer).serial_number for _ in range(20)}
    assert len(serials) == 20
    assert all(0 < serial < 1 << 159 for serial in serials)
    assert max(serial.bit_length() for serial in serials) > 128


def test_the_validity_of_a_leaf(issuer: Issuer) -> None:
    """A leaf is valid for 397 days from now, backdated by five minutes for peers with late clocks."""
    later = NOW + datetime.timedelta(days=100)
    leaf = leaf_of(issuer, now=later)
    assert leaf.not_valid_before_utc == later - datetime.timedelta(minutes=5)
    assert leaf.not_valid_after_utc == later + datetime.timedelta(days=397)


def test_a_leaf_stays_within_the_root(issuer: Issuer) -> None:
    """Neither end of a leaf's validity is outside of its CA's."""
    root = issuer.certificate
    last_days = leaf_of(issuer, now=root.not_valid_after_utc - datetime.timedelta(days=3))
    assert last_days.not_valid_after_utc == root.not_valid_after_utc
    first_moment = leaf_of(issuer, now=root.not_valid_before_utc)
    assert first_moment.not_valid_before_utc == root.not_valid_before_utc


@pytest.mark.parametrize("days", [-1, 3652])
def test_nothing_is_issued_outside_of_the_roots_validity(issuer: Issuer, days: int) -> None:
    """A CA that is not valid now issues nothing."""
    with pytest.raises(ProfileError, match="the CA's own certificate is not valid at this time"):
        leaf_of(issuer, now=NOW + datetime.timedelta(days=days))


@pytest.mark.parametrize(
    "names",
    [
        [x509.DNSName("*.orders.example.com")],
        [x509.IPAddress(ipaddress.ip_address("10.0.0.1"))],
        [x509.IPAddress(ipaddress.ip_address("::1")), x509.DNSName("localhost")],
    ],
)
def test_server_names(issuer: Issuer, names: list[x509.GeneralName]) -> None:
    """Wildcards and addresses pass the proof as names of a server."""
    leaf = leaf_of(issuer, purpose=SERVER, names=names)
    assert list(leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value) == names


def test_a_server_needs_a_name_that_a_client_can_ask_for(issuer: Issuer) -> None:
    """A URI alone does not make a server certificate."""
    with pytest.raises(ProfileError, match="needs a DNS name or an IP address"):
        leaf_of(issuer, purpose=SERVER, names=[x509.UniformResourceIdentifier("urn:uuid:0")])


def test_the_proof_refuses_a_foreign_root(issuer: Issuer) -> None:
    """A leaf of one CA does not verify under another with the same name."""
    impostor = build_root(common_name="Aegis Local CA test", now=NOW)
    with pytest.raises(ProfileError, match="the new certificate does not verify"):
        verify_leaf(leaf_of(issuer), root=impostor.certificate, purpose=CLIENT, now=NOW)


def test_the_proof_refuses_another_purpose(issuer: Issuer) -> None:
    """A server's certificate does not verify as a client's, nor the other way round."""
    with pytest.raises(ProfileError, match="does not verify"):
        verify_leaf(leaf_of(issuer, purpose=SERVER), root=issuer.certificate, purpose=CLIENT, now=NOW)
    with pytest.raises(ProfileError, match="does not verify"):
        verify_leaf(leaf_of(issuer, purpose=CLIENT), root=issuer.certificate, purpose=SERVER, now=NOW)


def test_another_validity(issuer: Issuer) -> None:
    """What is asked for, from now on."""
    key = generate_key()
    leaf = build_leaf(
        issuer=issuer,
        purpose=CLIENT,
        common_name="orders",
        names=NAMES,
        public_key=key.public_key(),
        now=NOW,
        validity=datetime.timedelta(days=3),
    )
    assert leaf.not_valid_after_utc == NOW + datetime.timedelta(days=3)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"public_key": generate_key().public_key()}, "it is for another key"),
        ({"purpose": SERVER}, "it has another purpose"),
        ({"names": [x509.DNSName("other")]}, "it has other names"),
    ],
)
def test_the_proof_reads_the_certificate_back(issuer: Issuer, changes: dict[str, object], problem: str) -> None:
    """A certificate that says anything else than was asked for is not handed out."""
    leaf = leaf_of(issuer)
    asked = {"root": issuer.certificate, "purpose": CLIENT, "names": NAMES, "public_key": leaf.public_key()}
    profiles._check_contents(leaf, **asked)  # type: ignore[arg-type]
    with pytest.raises(ProfileError, match=problem):
        profiles._check_contents(leaf, **asked | changes)  # type: ignore[arg-type]


def test_an_issuer_shows_no_key(issuer: Issuer) -> None:
    """The repr of an issuer is its name."""
    assert repr(issuer) == "Issuer('CN=Aegis Local CA test')"


def test_keys_are_pkcs8_pem() -> None:
    """A key is written in the form that every TLS stack reads."""
    key = generate_key()
    pem = key_to_pem(key)
    assert pem.startswith(b"-----BEGIN PRIVATE KEY-----\n")
    loaded = load_pem_private_key(pem, password=None)
    assert loaded.public_key() == key.public_key()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command on this machine")
@pytest.mark.parametrize(
    ("purpose", "accepted_as", "refused_as"), [(CLIENT, "sslclient", "sslserver"), (SERVER, "sslserver", "sslclient")]
)
def test_openssl_agrees(
    issuer: Issuer, tmp_path: Path, purpose: x509.ObjectIdentifier, accepted_as: str, refused_as: str
) -> None:
    """OpenSSL in strict mode accepts a leaf for its purpose and for no other."""
    ca_file, leaf_file = tmp_path / "ca.crt", tmp_path / "leaf.crt"
    ca_file.write_text(profiles.certificate_to_pem(issuer.certificate))
    leaf_file.write_text(profiles.certificate_to_pem(leaf_of(issuer, purpose=purpose)))

    def verify(as_what: str) -> subprocess.CompletedProcess[str]:
        command = ["openssl", "verify", "-x509_strict", "-purpose", as_what, "-CAfile", ca_file, leaf_file]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    accepted = verify(accepted_as)
    assert (accepted.returncode, accepted.stdout) == (0, f"{leaf_file}: OK\n"), accepted.stderr
    assert verify(refused_as).returncode != 0
