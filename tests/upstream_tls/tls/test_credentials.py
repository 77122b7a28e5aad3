"""Reading what operators paste."""

import base64
import contextlib
import datetime
import os
import time
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs7,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.certificates import Authority
from tests.support.odd_certificates import certificate
from tests.support.odd_certificates import pem as pem_text
from upstream_tls.tls import credentials
from upstream_tls.tls.credentials import (
    CredentialProblem,
    chain_to_pem,
    check_pair,
    check_pair_by_fingerprint,
    key_spki_sha256,
    key_to_pem,
    parse_ca_bundle,
    parse_chain,
    parse_key,
)
from upstream_tls.tls.der import armoured, to_pem

NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
CA = Authority("Orders CA")
ISSUING = Authority("Issuing CA", parent=CA)
LEAF = ISSUING.client("orders")
RSA_KEY = rsa.generate_private_key(65537, 2048)
USABLE = [
    RSA_KEY,
    ec.generate_private_key(ec.SECP256R1()),
    ec.generate_private_key(ec.SECP384R1()),
    ec.generate_private_key(ec.SECP521R1()),
    ed25519.Ed25519PrivateKey.generate(),
    ed448.Ed448PrivateKey.generate(),
]
UNUSABLE = [
    ec.generate_private_key(ec.SECP256K1()),
    x25519.X25519PrivateKey.generate(),
    dsa.generate_private_key(2048),
]


def pem_of(key: object, form: PrivateFormat = PrivateFormat.PKCS8, passphrase: bytes = b"") -> bytes:
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    pem: bytes = key.private_bytes(Encoding.PEM, form, encryption)  # type: ignore[attr-defined]
    return pem


def problem_of(parse: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(CredentialProblem) as caught:
        parse()
    return caught.value.code, caught.value.message


# Chains and bundles


def test_a_chain_is_read_as_it_stands() -> None:
    """The leaf first, then the intermediates, and back to canonical PEM."""
    chain = parse_chain(b"# orders\r\n" + LEAF.chain_pem.replace("\n", "\r\n").encode())
    assert chain == (LEAF.certificate, ISSUING.certificate)
    assert chain_to_pem(chain) == LEAF.chain_pem


def test_a_bundle_may_hold_many_authorities() -> None:
    """All certificates of a CA bundle are returned."""
    assert parse_ca_bundle((CA.pem + ISSUING.pem).encode()) == (CA.certificate, ISSUING.certificate)


def test_a_private_key_among_certificates_is_refused() -> None:
    """Certificates are stored in clear, so a key that came along is never taken with them."""
    expected = ("pem_swapped", "This holds a private key: only certificates belong here.")
    assert problem_of(lambda: parse_chain(LEAF.key_pem.encode())) == expected
    assert problem_of(lambda: parse_chain((LEAF.chain_pem + LEAF.key_pem).encode())) == expected
    assert problem_of(lambda: parse_ca_bundle((LEAF.encrypted_key_pem("secret") + CA.pem).encode())) == expected


def test_other_blocks_and_no_blocks_are_named() -> None:
    """A revocation list, an empty text and a text that is not PEM are told apart."""
    crl = b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"
    assert problem_of(lambda: parse_ca_bundle(crl)) == (
        "bad_pem",
        "This holds a X509 CRL: only certificates belong here.",
    )
    missing = ("bad_pem", "This is not PEM: the line -----BEGIN CERTIFICATE----- is missing.")
    assert problem_of(lambda: parse_chain(b"")) == missing
    assert problem_of(lambda: parse_chain(b"MIIB")) == missing


def test_a_damaged_certificate_is_numbered() -> None:
    """The message says which certificate of the chain is damaged."""
    damaged = LEAF.chain_pem[:400] + LEAF.chain_pem[464:]
    assert problem_of(lambda: parse_chain(damaged.encode())) == (
        "bad_pem",
        "Certificate 1 is damaged or incomplete.",
    )
    assert problem_of(lambda: parse_ca_bundle((CA.pem + damaged).encode()))[1].startswith("Certificate 2 ")


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
def test_a_pkcs7_bundle_holds_certificates(encoding: Encoding) -> None:
    """Windows CAs hand out chains in this form; a damaged one is named as what it is."""
    content = pkcs7.serialize_certificates([LEAF.certificate, ISSUING.certificate], encoding)
    assert set(parse_chain(to_pem(content))) == {LEAF.certificate, ISSUING.certificate}
    damaged = armoured(b"\x30\x03\x06\x01\x00", "PKCS7")
    assert problem_of(lambda: parse_chain(damaged)) == (
        "bad_pem",
        "The PKCS#7 bundle is damaged or holds no certificates.",
    )


def test_a_certificate_has_bounds() -> None:
    """5000 names and 64 KiB are more than any TLS stack would take."""
    names = [x509.DNSName(f"{number:x}") for number in range(5000)]
    many = certificate(extensions=[x509.SubjectAlternativeName(names)], now=NOW)
    assert problem_of(lambda: parse_chain(pem_text(many).encode())) == (
        "bad_pem",
        "Certificate 1 has 5000 names; at most 1000 are accepted.",
    )
    large = certificate(extensions=[x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"x" * 50_000)], now=NOW)
    assert problem_of(lambda: parse_ca_bundle((CA.pem + pem_text(large)).encode())) == (
        "bad_pem",
        "Certificate 2 is larger than 64 KiB.",
    )


def test_a_bundle_has_a_bound() -> None:
    """Also when a few blocks hold many certificates."""
    block = pkcs7.serialize_certificates([LEAF.certificate] * 300, Encoding.PEM)
    assert problem_of(lambda: parse_ca_bundle(block * 2)) == ("bad_pem", "This holds more than 500 certificates.")


# Keys


@pytest.mark.parametrize("key", USABLE, ids=lambda key: type(key).__name__)
def test_keys_that_tls_can_use_are_read_and_written(key: object) -> None:
    """PKCS#8, encrypted or not, comes back as the same key in unencrypted PKCS#8."""
    for pem, passphrase in ((pem_of(key), None), (pem_of(key, passphrase=b"a secret"), b"a secret")):
        assert key_to_pem(parse_key(pem, passphrase)) == pem_of(key)


@pytest.mark.parametrize("key", UNUSABLE, ids=lambda key: type(key).__name__)
def test_keys_that_tls_cannot_use_are_refused(key: object) -> None:
    """Other algorithms and curves have their own message."""
    expected = ("bad_pem", "TLS needs an RSA, EC (P-256, P-384, P-521), Ed25519 or Ed448 key.")
    assert problem_of(lambda: parse_key(pem_of(key))) == expected


def test_a_small_rsa_key_is_weak() -> None:
    """OpenSSL would refuse it in the worker; the operator hears it at upload."""
    weak = rsa.generate_private_key(65537, 1024)  # noqa: S505 (that is the point)
    assert problem_of(lambda: parse_key(pem_of(weak))) == ("weak_key", "TLS needs an RSA key of at least 2048 bits.")


@pytest.mark.parametrize("key", USABLE[:2], ids=lambda key: type(key).__name__)
def test_the_older_forms_are_read(key: object) -> None:
    """PKCS#1 and SEC 1, encrypted the OpenSSL way or not, also with parameters or certificates around them."""
    form = PrivateFormat.TraditionalOpenSSL
    parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    assert key_to_pem(parse_key(parameters + pem_of(key, form) + LEAF.chain_pem.encode())) == pem_of(key)
    encrypted = pem_of(key, form, b"a secret")
    assert key_to_pem(parse_key(encrypted, b"a secret")) == pem_of(key)
    assert problem_of(lambda: parse_key(encrypted))[0] == "key_encrypted"
    assert problem_of(lambda: parse_key(encrypted, b"wrong"))[0] == "key_wrong_passphrase"


def test_an_encrypted_key_needs_its_passphrase() -> None:
    """Without it, with an empty one and with a wrong one the code says which."""
    pem = LEAF.encrypted_key_pem("a secret").encode()
    encrypted = ("key_encrypted", "This key is encrypted: its passphrase is needed.")
    assert problem_of(lambda: parse_key(pem)) == encrypted
    assert problem_of(lambda: parse_key(pem, b"")) == encrypted
    assert problem_of(lambda: parse_key(pem, b"wrong")) == (
        "key_wrong_passphrase",
        "The passphrase does not open this key.",
    )


def test_a_passphrase_that_is_not_needed_does_no_harm() -> None:
    """A key without encryption is read whatever was typed beside it."""
    assert key_to_pem(parse_key(LEAF.key_pem.encode(), b"not needed")) == LEAF.key_pem.encode()


def test_a_certificate_in_the_keys_place_is_named() -> None:
    """Swapped fields are the most frequent mistake and have their own code."""
    expected = ("pem_swapped", "This is a certificate: the private key belongs here.")
    assert problem_of(lambda: parse_key(LEAF.chain_pem.encode())) == expected


def test_what_is_no_single_key_is_named() -> None:
    """Two keys, an OpenSSH key, a public key and a far too large one are refused with a way out."""
    two = problem_of(lambda: parse_key((LEAF.key_pem * 2).encode()))
    assert two == ("bad_pem", "This holds more than one private key.")
    openssh = RSA_KEY.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    assert "ssh-keygen" in problem_of(lambda: parse_key(openssh))[1]
    public = b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"
    assert problem_of(lambda: parse_key(public))[1].startswith("This is not PEM")
    large = b"-----BEGIN PRIVATE KEY-----\n" + b"A" * 20_000 + b"\n-----END PRIVATE KEY-----\n"
    assert problem_of(lambda: parse_key(large)) == ("bad_pem", "The private key is larger than 16 KiB.")


def test_an_rsa_key_whose_numbers_disagree_is_damaged() -> None:
    """Skipping OpenSSL's slow check of the primes must not admit a key that cannot sign."""
    numbers = RSA_KEY.private_numbers()
    wrong = rsa.RSAPrivateNumbers(
        numbers.p, numbers.q, numbers.d + 2, numbers.dmp1, numbers.dmq1, numbers.iqmp, numbers.public_numbers
    ).private_key(unsafe_skip_rsa_key_validation=True)
    damaged = ("bad_pem", "The private key is damaged or incomplete.")
    assert problem_of(lambda: parse_key(pem_of(wrong))) == damaged


# Pairs


def test_a_key_belongs_to_its_certificate_only() -> None:
    """The leaf decides; the wording is Go's, which users look for."""
    chain = parse_chain(LEAF.chain_pem.encode())
    own, other = parse_key(LEAF.key_pem.encode()), parse_key(CA.client().key_pem.encode())
    check_pair(chain, own)
    check_pair_by_fingerprint(chain, key_spki_sha256(own))
    expected = ("key_mismatch", "tls: private key does not match public key")
    assert problem_of(lambda: check_pair(chain, other)) == expected
    assert problem_of(lambda: check_pair(chain, RSA_KEY)) == expected
    assert problem_of(lambda: check_pair_by_fingerprint(chain, "00" * 32)) == expected
    assert problem_of(lambda: check_pair(parse_chain(CA.pem.encode()), own)) == expected


def test_the_fingerprint_names_the_public_key() -> None:
    """For RFC 8410's example key it is the sha256 that `openssl pkey -pubout -outform der | sha256sum` prints."""
    key = load_pem_private_key(
        b"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n"
        b"-----END PRIVATE KEY-----\n",
        None,
    )
    assert isinstance(key, ed25519.Ed25519PrivateKey)
    assert key_spki_sha256(key) == "a1e9156054e04fac899ae9f275132cdc07a5dbc4ea2c2ad3a1ffc6e0d253681f"


# Hostile input

HOSTILE = {
    "empty": b"",
    "zero bytes": b"\0" * 1000,
    "random": os.urandom(1000),
    "10 MB": b"A" * 10_000_000,
    "10 MB of begins": b"-----BEGIN PRIVATE KEY-----" * 400_000,
    "many begins": b"-----BEGIN CERTIFICATE-----" * 30_000,
    "long body": b"-----BEGIN CERTIFICATE-----\n" + b"A" * 1_000_000 + b"\n-----END CERTIFICATE-----",
    "zero bytes inside": b"-----BEGIN PRIVATE KEY-----\n\0\0\0\0\n-----END PRIVATE KEY-----",
    "not UTF-8 inside": b"-----BEGIN CERTIFICATE-----\n\xff\xfe\n-----END CERTIFICATE-----",
    "deep DER": b"-----BEGIN CERTIFICATE-----\n"
    + base64.encodebytes(b"\x30\x82\xff\xff" * 10_000)
    + b"-----END CERTIFICATE-----",
    "cut": LEAF.key_pem.encode()[:-40],
}


@pytest.mark.parametrize("pem", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("parse", [parse_chain, parse_ca_bundle, parse_key, lambda pem: parse_key(pem, b"secret")])
def test_hostile_input_is_a_problem_at_once(parse: Callable[[bytes], object], pem: bytes) -> None:
    """Whatever the bytes, the answer is a problem with a clean message, well within a second."""
    taken = []
    for _ in range(3):  # the cheapest: a collection of everything that the tests before left takes a second
        started = time.thread_time()
        _, message = problem_of(lambda: parse(pem))
        taken.append(time.thread_time() - started)
    assert min(taken) < 1
    assert message.isascii()
    assert len(message) < 120


# Serial numbers below one and country names of more than two letters are wrong, but private CAs of old have them; the
# library takes them and warns.
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@pytest.mark.filterwarnings("ignore:Attribute's length:UserWarning")
@example(position=784, byte=1, passphrase=None)  # the certificate's version: it raised InvalidVersion
@settings(max_examples=200, deadline=None)
@given(position=st.integers(0, 2**16), byte=st.integers(0, 255), passphrase=st.sampled_from([None, b"secret"]))
def test_one_changed_byte_gives_a_value_or_a_problem(position: int, byte: int, passphrase: bytes | None) -> None:
    """No other exception leaves the parsers, wherever the DER is changed."""
    for pem, parse in (
        (LEAF.chain_pem, parse_chain),
        (LEAF.key_pem, parse_key),
        (LEAF.encrypted_key_pem("secret"), lambda text: parse_key(text, passphrase)),
    ):
        begin, body, end = pem.partition("\n")[0], pem.split("-----")[2], pem.split("-----")[3]
        der = bytearray(base64.b64decode(body))
        der[position % len(der)] = byte
        changed = begin.encode() + b"\n" + base64.encodebytes(bytes(der)) + b"-----" + end.encode() + b"-----\n"
        with contextlib.suppress(CredentialProblem):
            parse(changed)


def test_the_module_says_what_it_offers() -> None:
    """The names that other parts rely on are exported."""
    assert set(credentials.__all__) >= {
        "CredentialProblem",
        "parse_chain",
        "parse_ca_bundle",
        "parse_key",
        "check_pair",
    }
