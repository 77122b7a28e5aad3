"""The certificates of the local CA, extension by extension, and what validates them."""

import datetime
import ipaddress
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from localca import profiles
from localca.keys import KeyType, PublicKey, generate_key, key_to_pem
from localca.lint.subject import Role
from localca.profiles import Issuer, Plan, ProfileError, build_intermediate, build_leaf, build_root, verify_leaf

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
    public_key: PublicKey | None = None,
) -> x509.Certificate:
    public_key = public_key or generate_key().public_key()
    return build_leaf(issuer=issuer, purpose=purpose, common_name="orders", names=names, public_key=public_key, now=now)


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
        verify_leaf(leaf_of(issuer), path=impostor.path, purpose=CLIENT, now=NOW)


def test_the_proof_refuses_another_purpose(issuer: Issuer) -> None:
    """A server's certificate does not verify as a client's, nor the other way round."""
    with pytest.raises(ProfileError, match="does not verify"):
        verify_leaf(leaf_of(issuer, purpose=SERVER), path=issuer.path, purpose=CLIENT, now=NOW)
    with pytest.raises(ProfileError, match="does not verify"):
        verify_leaf(leaf_of(issuer, purpose=CLIENT), path=issuer.path, purpose=SERVER, now=NOW)


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
        ({"subject": x509.Name([])}, "it has another subject"),
        ({"extensions": ((x509.ExtendedKeyUsage([SERVER]), False),)}, "it has another purpose"),
        ({"extensions": ((x509.SubjectAlternativeName([x509.DNSName("other")]), False),)}, "it has other names"),
        ({"extensions": ((x509.BasicConstraints(ca=True, path_length=None), True),)}, "it has other basic constraints"),
    ],
)
def test_the_proof_reads_the_certificate_back(issuer: Issuer, changes: dict[str, Any], problem: str) -> None:
    """A certificate that says anything else than was planned is not handed out."""
    leaf = leaf_of(issuer)
    plan = Plan(
        role=Role.CLIENT,
        subject=leaf.subject,
        public_key=leaf.public_key(),  # type: ignore[arg-type]
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        extensions=((x509.ExtendedKeyUsage([CLIENT]), False), (x509.SubjectAlternativeName(NAMES), False)),
    )
    profiles._check_contents(leaf, plan=plan, issuer=issuer)
    with pytest.raises(ProfileError, match=problem):
        profiles._check_contents(leaf, plan=replace(plan, **changes), issuer=issuer)
    stranger = build_root(common_name="Another CA", now=NOW)
    with pytest.raises(ProfileError, match="it has another issuer"):
        profiles._check_contents(leaf, plan=plan, issuer=stranger)


def test_an_intermediate(issuer: Issuer) -> None:
    """Five years, path length 0, what a CA needs, and no extended key usage: strict peers then accept both."""
    intermediate = build_intermediate(issuer=issuer, common_name="Aegis Local Intermediate CA test", now=NOW)
    certificate = intermediate.certificate
    assert intermediate.path == (certificate, issuer.certificate)
    assert certificate.not_valid_after_utc == NOW + profiles.INTERMEDIATE_VALIDITY
    assert extension(certificate, x509.BasicConstraints) == x509.Extension(
        x509.BasicConstraints.oid, True, x509.BasicConstraints(ca=True, path_length=0)
    )
    kinds = {type(found.value) for found in certificate.extensions}
    assert kinds == {
        x509.BasicConstraints,
        x509.KeyUsage,
        x509.SubjectKeyIdentifier,
        x509.AuthorityKeyIdentifier,
    }
    certificate.verify_directly_issued_by(issuer.certificate)


def test_nothing_stands_beneath_an_intermediate_but_leafs(issuer: Issuer) -> None:
    """Path length 0 is kept: an intermediate issues no intermediate."""
    intermediate = build_intermediate(issuer=issuer, common_name="Intermediate", now=NOW)
    with pytest.raises(ProfileError, match="a CA above allows no certificate this far below"):
        build_intermediate(issuer=intermediate, common_name="Too deep", now=NOW)


@pytest.mark.parametrize(
    ("days", "problem"),
    [(-1, "CN=Intermediate begins .* UTC, and this machine's clock says"), (1826, "CN=Intermediate ended .* UTC")],
)
def test_an_intermediate_outside_of_its_validity(issuer: Issuer, days: int, problem: str) -> None:
    """A clock that is wrong, and an intermediate that has expired, are told apart and named."""
    intermediate = build_intermediate(issuer=issuer, common_name="Intermediate", now=NOW)
    with pytest.raises(ProfileError, match=problem):
        leaf_of(intermediate, now=NOW + datetime.timedelta(days=days))


def test_a_leaf_ends_with_the_first_ca_above_it(issuer: Issuer) -> None:
    """Of the intermediate and the root, whichever ends first."""
    late = issuer.certificate.not_valid_after_utc - datetime.timedelta(days=10)
    intermediate = build_intermediate(issuer=issuer, common_name="Late", now=late)
    assert intermediate.certificate.not_valid_after_utc == issuer.certificate.not_valid_after_utc
    assert leaf_of(intermediate, now=late).not_valid_after_utc == issuer.certificate.not_valid_after_utc


def test_where_the_list_is(issuer: Issuer) -> None:
    """A distribution point when there is a URL: not critical, one full name; none otherwise."""
    url = "http://aegis.example.com/api/v1/ca/crl"
    found = extension(leaf_of(replace(issuer, crl_url=url)), x509.CRLDistributionPoints)
    name = x509.UniformResourceIdentifier(url)
    point = x509.DistributionPoint(full_name=[name], relative_name=None, reasons=None, crl_issuer=None)
    assert (found.critical, list(found.value)) == (False, [point])  # type: ignore[call-overload]
    with pytest.raises(x509.ExtensionNotFound):
        extension(leaf_of(issuer), x509.CRLDistributionPoints)
    intermediate = build_intermediate(issuer=replace(issuer, crl_url=url), common_name="Intermediate", now=NOW)
    assert extension(intermediate.certificate, x509.CRLDistributionPoints).value == found.value


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
@pytest.mark.parametrize("has_intermediate", [False, True])
@pytest.mark.parametrize("key_type", list(KeyType))
def test_openssl_agrees(issuer: Issuer, tmp_path: Path, key_type: KeyType, has_intermediate: bool) -> None:
    """OpenSSL in strict mode accepts leafs of every type of key for their purpose and for no other."""
    ca = build_intermediate(issuer=issuer, common_name="Intermediate", now=NOW) if has_intermediate else issuer
    *intermediates, root = ca.path
    root_file, chain_file, leaf_file = (tmp_path / name for name in ("root.crt", "chain.crt", "leaf.crt"))
    root_file.write_text(profiles.certificate_to_pem(root))
    chain_file.write_text("".join(map(profiles.certificate_to_pem, intermediates)))
    key = generate_key(key_type)

    def verify(as_what: str) -> subprocess.CompletedProcess[str]:
        untrusted = ["-untrusted", chain_file] if intermediates else []
        command = [
            "openssl",
            "verify",
            "-x509_strict",
            "-purpose",
            as_what,
            "-CAfile",
            root_file,
            *untrusted,
            leaf_file,
        ]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    for purpose, accepted_as, refused_as in ((CLIENT, "sslclient", "sslserver"), (SERVER, "sslserver", "sslclient")):
        leaf = leaf_of(ca, purpose=purpose, public_key=key.public_key())
        leaf_file.write_text(profiles.certificate_to_pem(leaf))
        accepted = verify(accepted_as)
        assert (accepted.returncode, accepted.stdout) == (0, f"{leaf_file}: OK\n"), accepted.stderr
        assert verify(refused_as).returncode != 0
