"""The connection test: what it claims, how long it takes, and what it survives."""

import concurrent.futures
import contextlib
import dataclasses
import datetime
import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tests.support.ports import free_port
from upstream_tls.tls.peer import MAX_NAMES, UNREADABLE
from upstream_tls.tls.probe import ProbeResult, ProbeTarget, as_document, probe
from upstream_tls.zoo import Running, members, run_zoo
from upstream_tls.zoo.member import Member, settings
from upstream_tls.zoo.pki import PKI, SERVER, SERVER_NAME, Identity, Wrong
from upstream_tls.zoo.running import _listening, new_pki
from upstream_tls.zoo.servers import Behaviour, Stop, TLSUpstream


@pytest.fixture(scope="module")
def pki() -> PKI:
    return new_pki()


@contextlib.contextmanager
def serving(pki: PKI, behaviour: Behaviour) -> Iterator[ProbeTarget]:
    """Somebody who answers on loopback."""
    member = Member(name="test", title="", behaviour=lambda _pki: behaviour, spec=settings)
    with _listening(member, pki, 0, Stop()) as port:
        yield ProbeTarget(address="127.0.0.1", port=port, host_field=SERVER_NAME)


def good(pki: PKI, **changes: object) -> TLSUpstream:
    """Demands a client certificate of the PKI."""
    return dataclasses.replace(TLSUpstream(identity=pki.server(), clients=(pki.clients_root,)), **changes)


def target_of(running: Running) -> ProbeTarget:
    return ProbeTarget(address=running.address, port=running.port, host_field=SERVER_NAME)


def test_document_is_the_apis(pki: PKI) -> None:
    """Names and nesting of the API's answer, as JSON."""
    with serving(pki, good(pki)) as target:
        document = json.loads(json.dumps(as_document(probe(settings(pki), target))))
    assert list(document) == [
        *("success", "upstream", "tested_at", "duration_ms", "timeout_s", "stages", "tls", "http", "chain"),
        *("verified", "error", "warnings", "offered_anchor_pem"),
    ]
    assert document["upstream"] == {"address": "127.0.0.1", "port": target.port, "server_name": SERVER_NAME}
    assert document["tested_at"].endswith("Z")
    assert set(document["stages"]) == {"dns_ms", "tcp_ms", "tls_ms", "first_byte_ms"}
    assert document["tls"] == {
        "version": "TLSv1.3",
        "cipher": "TLS_AES_256_GCM_SHA384",
        "alpn": "",
        "client_certificate_requested": True,
        "client_certificate_sent": True,
        "acceptable_ca_names": ["CN=Zoo client CA"],
    }
    assert document["http"] == {"status": 200}
    (leaf,) = document["chain"]
    assert list(leaf) == [
        *("subject", "issuer", "serial_number", "not_before", "not_after", "subject_alt_names"),
        *("fingerprint_sha256", "key_type", "is_ca"),
    ]
    assert leaf["subject"] == f"CN={SERVER_NAME}"
    assert leaf["subject_alt_names"] == [f"DNS:{SERVER_NAME}"]
    assert (document["success"], document["verified"], document["error"]) == (True, True, None)


def test_failure_has_evidence_and_the_presented_chain(pki: PKI) -> None:
    """Also when the upstream's certificate was refused."""
    leaf = pki.server(issuer=pki.authority("Unknown intermediate", issuer=pki.stranger))
    with serving(pki, good(pki, identity=leaf)) as target:
        document = as_document(probe(settings(pki), target))
    assert [certificate["subject"] for certificate in document["chain"]] == [
        f"CN={SERVER_NAME}",
        "CN=Unknown intermediate",
    ]
    assert document["error"]["evidence"] == {
        "stage": "tls",
        "verify_code": 20,
        "depth": 1,
        "alert": {"direction": "write", "number": 48, "text": "unknown certificate authority"},
        "errno": None,
        "http_status": None,
    }
    assert document["stages"]["tls_ms"] is None
    assert not document["verified"]


def test_result_holds_no_secret(pki: PKI) -> None:
    """Neither the repr nor the document has anything of the key."""
    spec = settings(pki)
    with serving(pki, good(pki)) as target:
        result = probe(spec, target)
    lines = [line for line in spec.client_key_pem.decode().splitlines() if "-----" not in line]
    for text in (repr(result), json.dumps(as_document(result)), repr(spec)):
        assert not any(line in text for line in lines)


def test_slow_upstreams_take_five_seconds_and_hold_nobody_up() -> None:
    """Twenty tests at once, of every way to be slow, each end at 5 s; a good one between them is not delayed."""
    slow = [member.name for member in members() if member.takes_all_time]
    with run_zoo([*slow, "good"]) as zoo, concurrent.futures.ThreadPoolExecutor(max_workers=21) as pool:
        begun = time.monotonic()
        futures = [pool.submit(_timed, zoo[slow[number % len(slow)]]) for number in range(20)]
        result, took_s = pool.submit(_timed, zoo["good"]).result()
        assert result.success
        assert took_s < 4
        for result, took_s in (future.result() for future in futures):
            assert result.error is not None
            assert result.error.code == "timeout"
            assert 4.5 <= took_s <= 6
        assert time.monotonic() - begun < 8


def _timed(running: Running) -> tuple[ProbeResult, float]:
    begun = time.monotonic()
    result = probe(running.spec, target_of(running))
    return result, time.monotonic() - begun


def test_lookup_cannot_outlast_the_deadline(pki: PKI, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver that does not answer costs the time allowed and no more."""
    answered = threading.Event()

    def hang(*_arguments: object, **_options: object) -> object:
        answered.wait(20)
        raise socket.gaierror(socket.EAI_AGAIN, "late")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    begun = time.monotonic()
    result = probe(settings(pki), ProbeTarget(address="a.test", port=1, host_field="a"), timeout_s=0.3)
    answered.set()
    assert time.monotonic() - begun < 2
    assert result.error is not None
    assert (result.error.code, result.error.evidence["stage"]) == ("timeout", "dns")


def test_next_address_is_tried(pki: PKI, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with two addresses, of which nobody answers at the first."""
    with serving(pki, good(pki)) as target:
        addresses = [("127.0.0.1", free_port()), ("127.0.0.1", target.port)]
        answers = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_arguments, **_options: answers)
        assert probe(settings(pki), dataclasses.replace(target, address="a.test")).success


def test_own_expired_certificate_is_told_without_connecting(pki: PKI) -> None:
    """Nobody listens at the target, and that is not the answer."""
    day = datetime.timedelta(days=1)
    spec = settings(pki, client=pki.client(wrong=Wrong(starts=-9 * day, ends=-day)))
    result = probe(spec, ProbeTarget(address="127.0.0.1", port=free_port(), host_field="a"))
    assert result.error is not None
    assert (result.error.code, result.error.field) == ("client_certificate_not_after", "client_certificate")
    assert result.stages.tcp_ms is None


def test_configuration_problem_is_a_result(pki: PKI) -> None:
    """Code and field of the builder's refusal; nothing was sent."""
    spec = settings(pki, client_key_pem=pki.server().key_pem)
    result = probe(spec, ProbeTarget(address="127.0.0.1", port=free_port(), host_field="a"))
    assert result.error is not None
    assert (result.error.code, result.error.field) == ("key_mismatch", "client_key")
    assert as_document(result)["tls"] is None


def test_skipped_verification_is_a_warned_success(pki: PKI) -> None:
    """`verified` is false, and the warning says what verification would have said."""
    with serving(pki, good(pki, identity=pki.server(issuer=pki.stranger))) as target:
        result = probe(settings(pki, skip_verify=True), target)
    assert (result.success, result.verified) == (True, False)
    assert result.warnings[0].startswith("Verification is off")
    assert "signed by unknown authority" in result.warnings[1]
    with serving(pki, good(pki, identity=pki.server(wrong=Wrong(names=("x.test",))))) as target:
        result = probe(settings(pki, skip_verify=True), target)
    assert f"valid for x.test, not {SERVER_NAME}" in result.warnings[1]


def test_upstream_that_asks_for_no_certificate_is_warned_of(pki: PKI) -> None:
    """mTLS is on, and the upstream lets everybody in."""
    with serving(pki, TLSUpstream(identity=pki.server())) as target:
        result = probe(settings(pki), target)
        assert result.success
        assert "did not ask for one" in result.warnings[0]
        assert probe(settings(pki, without_client=True), target).warnings == ()


def test_protocol_that_aegis_does_not_speak_is_a_failure(pki: PKI) -> None:
    """The upstream chose HTTP/2, which the host offered."""
    with serving(pki, TLSUpstream(identity=pki.server(), alpn=b"h2")) as target:
        result = probe(settings(pki, alpn=("h2", "http/1.1")), target)
    assert result.error is not None
    assert (result.error.code, result.error.field) == ("alpn_mismatch", "alpn")


def test_missing_intermediate_is_told_from_certificates_that_the_caller_knows(pki: PKI) -> None:
    """The same upstream without that knowledge is an unknown authority."""
    with serving(pki, good(pki, identity=pki.server(issuer=pki.intermediate).alone)) as target:
        blind = probe(settings(pki), target)
        knowing = probe(settings(pki), target, known_certificates=[pki.intermediate.certificate])
    assert blind.error is not None
    assert knowing.error is not None
    assert (blind.error.code, blind.error.confidence) == ("unknown_authority", "certain")
    assert (knowing.error.code, knowing.error.confidence) == ("missing_intermediate", "likely")


@pytest.mark.parametrize("text", ["a\r\nX: y", "a b", "bücher", "a\x00"])
def test_target_that_would_break_the_request_is_refused(text: str) -> None:
    """Host field and path stay within their lines."""
    with pytest.raises(ValueError, match="printable"):
        ProbeTarget(address="a", port=1, host_field=text)
    with pytest.raises(ValueError, match="printable"):
        ProbeTarget(address="a", port=1, host_field="a", path=text)


def _hostile(pki: PKI, extension: x509.ExtensionType, common_name: str = SERVER_NAME) -> Identity:
    key = pki.key("hostile")
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)]))
        .issuer_name(pki.root.certificate.subject)
        .public_key(key.public_key())
        .serial_number(9)
        .not_valid_before(pki.now - datetime.timedelta(days=1))
        .not_valid_after(pki.now + datetime.timedelta(days=1))
        .add_extension(extension, critical=False)
        .add_extension(x509.ExtendedKeyUsage(SERVER), critical=False)
    )
    return Identity(certificate=builder.sign(pki.root.key, hashes.SHA256()), key=key)


@pytest.mark.parametrize("skip_verify", [False, True])
def test_certificate_with_five_thousand_names_is_no_burden(pki: PKI, skip_verify: bool) -> None:
    """It is found good or not in a second, and the report shows the first names only."""
    names = x509.SubjectAlternativeName([x509.DNSName(f"n{number}.x") for number in range(5000)])
    begun = time.monotonic()
    with serving(pki, good(pki, identity=_hostile(pki, names))) as target:
        result = probe(settings(pki, skip_verify=skip_verify), target)
    assert time.monotonic() - begun < 2
    assert result.success is skip_verify
    assert len(result.chain[0].subject_alt_names) == MAX_NAMES + 1
    assert result.chain[0].subject_alt_names[-1] == f"… and {5000 - MAX_NAMES} more"
    assert len(json.dumps(as_document(result))) < 20_000


def test_chain_that_is_dropped_for_tls_is_a_failure(pki: PKI) -> None:
    """Over OpenSSL's limit of 100 KiB for the Certificate message."""
    names = x509.SubjectAlternativeName([x509.DNSName(f"name-{number}.zoo.internal") for number in range(5000)])
    with serving(pki, good(pki, identity=_hostile(pki, names))) as target:
        result = probe(settings(pki), target)
    assert result.error is not None
    assert result.error.code == "handshake_failure"


@pytest.mark.parametrize("skip_verify", [False, True])
@pytest.mark.parametrize(
    "oid",
    [
        x509.SubjectAlternativeName.oid,
        x509.BasicConstraints.oid,
        x509.KeyUsage.oid,
        x509.AuthorityKeyIdentifier.oid,
        x509.NameConstraints.oid,
    ],
)
@pytest.mark.parametrize("value", [b"", b"\x30\x84\xff\xff\xff\xff", b"\x30\x03\x82\x01\xff", b"\x30\x80\x00\x00"])
def test_malformed_extensions_never_raise(
    pki: PKI, oid: x509.ObjectIdentifier, value: bytes, skip_verify: bool
) -> None:
    """A hostile certificate is a refusal with a code, and with verification off at most a shown oddity."""
    identity = _hostile(pki, x509.UnrecognizedExtension(oid, value))
    with serving(pki, good(pki, identity=identity)) as target:
        result = probe(settings(pki, skip_verify=skip_verify), target)
    assert result.success is skip_verify
    assert result.success or result.error
    json.dumps(as_document(result))


def test_control_characters_of_strangers_do_not_get_through(pki: PKI) -> None:
    """Neither a line feed nor a change of direction in a name reaches a log or a page."""
    names = x509.SubjectAlternativeName([x509.DNSName("x.test\n"), x509.DNSName("y\x1b[2J.test")])
    with serving(pki, good(pki, identity=_hostile(pki, names, "evil\u202e\r\nname"))) as target:
        result = probe(settings(pki), target)
    assert result.error is not None
    for text in (result.error.message, result.error.cause, result.chain[0].subject, *result.chain[0].subject_alt_names):
        assert text.isprintable(), text
    assert UNREADABLE not in result.chain[0].subject
