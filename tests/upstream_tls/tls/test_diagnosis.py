"""From evidence to code, message, cause and fix: every row of docs/diagnosis.md."""

import datetime
import errno
import socket
import string

import pytest

from upstream_tls.tls.alerts import ALERT_TEXTS
from upstream_tls.tls.diagnosis import (
    ALERT_CODES,
    diagnose,
    diagnose_certificate,
    diagnose_configuration,
    diagnose_own_expiry,
)
from upstream_tls.tls.evidence import ClientIdentity, Evidence, HTTPRefusal, NameProblem, Stage, Suspect
from upstream_tls.tls.remedies import REMEDIES
from upstream_tls.tls.wording import words_of

NOW = datetime.datetime(2026, 5, 1, 12, 0, 0, tzinfo=datetime.UTC)
SUSPECT = Suspect(
    subject="CN=orders",
    issuer="CN=Orders CA",
    issuer_key_id="ab12",
    not_before=datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC),
    not_after=datetime.datetime(2026, 4, 1, tzinfo=datetime.UTC),
    fingerprint_sha256="f1",
    spki_sha256="5b",
)
OURS = ClientIdentity(subject="CN=aegis", issuer="CN=Aegis CA", not_after=NOW, is_acceptable=False)


def seen(stage: Stage = Stage.TLS, **facts: object) -> Evidence:
    """Evidence of an attempt at 10.0.0.7:9443."""
    values: dict[str, object] = {"address": "10.0.0.7:9443", "now": NOW, "suspect": SUSPECT, **facts}
    return Evidence(stage=stage, **values)  # type: ignore[arg-type]


UNKNOWN = "x509: certificate signed by unknown authority"
VALIDITY = "x509: certificate has expired or is not yet valid: current time 2026-05-01T12:00:00Z is"
RESET = "read tcp 10.0.0.7:9443: connection reset by peer"
REQUIRED = "remote error: tls: certificate required"
ASKED = {"client": OURS, "client_certificate_requested": True, "client_certificate_sent": True}

ROWS: list[tuple[Evidence, str, str, str, str]] = [
    # evidence, code, message, field, confidence
    (seen(verify_code=20), "unknown_authority", UNKNOWN, "ca_certificate", "certain"),
    (seen(verify_code=21), "unknown_authority", UNKNOWN, "ca_certificate", "certain"),
    (seen(verify_code=19), "unknown_authority", UNKNOWN, "ca_certificate", "certain"),
    (seen(verify_code=18), "self_signed", UNKNOWN, "ca_certificate", "certain"),
    (seen(verify_code=20, is_missing_intermediate=True), "missing_intermediate", UNKNOWN, "ca_certificate", "likely"),
    (seen(verify_code=10), "expired", f"{VALIDITY} after 2026-04-01T00:00:00Z", "", "certain"),
    (seen(verify_code=9), "not_yet_valid", f"{VALIDITY} before 2026-06-01T00:00:00Z", "", "certain"),
    (
        seen(name_problem=NameProblem.NAME_MISMATCH, names=("a", "b"), expected_name="c"),
        "name_mismatch",
        "x509: certificate is valid for a, b, not c",
        "server_name",
        "certain",
    ),
    (
        seen(name_problem=NameProblem.NAME_MISMATCH, names=("a",), expected_name="c", is_verify_name=True),
        "name_mismatch",
        "x509: certificate is valid for a, not c",
        "verify_name",
        "certain",
    ),
    (
        seen(name_problem=NameProblem.NAME_MISMATCH, expected_name="c"),
        "name_mismatch",
        "x509: certificate is not valid for any names, but wanted to match c",
        "server_name",
        "certain",
    ),
    (
        seen(name_problem=NameProblem.IP_MISMATCH, expected_name="10.0.0.7", dns_names=("a",)),
        "ip_mismatch",
        "x509: cannot validate certificate for 10.0.0.7 because it doesn't contain any IP SANs",
        "server_name",
        "certain",
    ),
    (
        seen(name_problem=NameProblem.IP_MISMATCH, expected_name="10.0.0.7", names=("10.0.0.8",)),
        "ip_mismatch",
        "x509: certificate is valid for 10.0.0.8, not 10.0.0.7",
        "server_name",
        "certain",
    ),
    (
        seen(name_problem=NameProblem.NO_SUBJECT_ALT_NAME, expected_name="c"),
        "no_subject_alt_name",
        "x509: certificate relies on legacy Common Name field, use SANs instead",
        "skip_verify",
        "certain",
    ),
    (
        seen(verify_code=26),
        "wrong_purpose",
        "x509: certificate specifies an incompatible key usage",
        "",
        "certain",
    ),
    (seen(verify_code=66), "weak_key", "x509: certificate key too weak", "", "certain"),
    (seen(verify_code=67), "weak_key", "x509: certificate key too weak", "", "certain"),
    (seen(verify_code=68), "weak_signature", "x509: certificate signature algorithm too weak", "", "certain"),
    (seen(verify_code=23), "revoked", "x509: certificate revoked", "crl", "certain"),
    (seen(verify_code=3), "crl_unavailable", "x509: no certificate revocation list for CA", "crl", "certain"),
    (seen(verify_code=33), "crl_unavailable", "x509: no certificate revocation list for CA", "crl", "certain"),
    (seen(verify_code=12), "crl_expired", "x509: certificate revocation list has expired", "crl", "certain"),
    (seen(verify_code=7), "chain_invalid", "x509: certificate signature failure (verify error 7)", "", "certain"),
    (seen(verify_code=99), "chain_invalid", "x509: verification failed (verify error 99)", "", "certain"),
    (seen(is_pin_mismatch=True), "pin_mismatch", "pinned public key does not match", "pinned_spki_sha256", "certain"),
    (seen(alert_read=116), "client_certificate_required", REQUIRED, "client_certificate", "certain"),
    (
        seen(alert_read=40, client_certificate_requested=True),
        "client_certificate_required",
        REQUIRED,
        "client_certificate",
        "certain",
    ),
    (
        seen(Stage.HTTP, http_status=400, http_refusal=HTTPRefusal.NONE_SENT),
        "client_certificate_required",
        REQUIRED,
        "client_certificate",
        "certain",
    ),
    (
        seen(Stage.HTTP, http_status=400, http_refusal=HTTPRefusal.NOT_ACCEPTED, **ASKED),
        "client_certificate_rejected",
        "remote error: tls: unknown certificate",
        "client_certificate",
        "certain",
    ),
    (seen(Stage.HTTP, peer_closed=True, **ASKED), "client_certificate_rejected", "EOF", "client_certificate", "likely"),
    (
        seen(Stage.HTTP, errno=errno.ECONNRESET, **ASKED),
        "client_certificate_rejected",
        RESET,
        "client_certificate",
        "likely",
    ),
    (
        seen(peer_closed=True, refused_without_certificate=True, **ASKED),
        "client_certificate_rejected",
        "EOF",
        "client_certificate",
        "certain",
    ),
    (
        seen(peer_closed=True, client_certificate_requested=True),
        "client_certificate_required",
        "EOF",
        "client_certificate",
        "likely",
    ),
    (
        seen(alert_written=70),
        "protocol_version",
        "tls: server selected unsupported protocol version",
        "min_version",
        "certain",
    ),
    (seen(alert_written=47), "handshake_failure", "local error: tls: illegal parameter", "ciphers", "certain"),
    (seen(), "handshake_failure", "local error: tls: handshake failure", "ciphers", "certain"),
    (seen(alpn="h2"), "alpn_mismatch", "tls: upstream selected the protocol h2", "alpn", "certain"),
    (
        seen(Stage.HTTP, http_status=421),
        "unrecognized_name",
        "remote error: tls: unrecognized name",
        "server_name",
        "certain",
    ),
    (
        seen(looks_like_tls=False, alert_written=70),
        "not_tls",
        "tls: first record does not look like a TLS handshake",
        "",
        "certain",
    ),
    (
        seen(Stage.TCP, errno=errno.ECONNREFUSED),
        "connection_refused",
        "dial tcp 10.0.0.7:9443: connect: connection refused",
        "",
        "certain",
    ),
    (seen(errno=errno.ECONNRESET), "connection_reset", RESET, "", "certain"),
    (seen(errno=errno.EPIPE), "connection_reset", "write tcp 10.0.0.7:9443: broken pipe", "", "certain"),
    (seen(peer_closed=True), "connection_closed", "EOF", "", "certain"),
    (seen(timed_out=True), "timeout", "i/o timeout", "", "certain"),
    (seen(Stage.TCP, errno=errno.ETIMEDOUT), "timeout", "i/o timeout", "", "certain"),
    (
        seen(Stage.DNS, address="a.test", lookup_error=socket.EAI_NONAME),
        "dns_failure",
        "lookup a.test: no such host",
        "",
        "certain",
    ),
    (
        seen(Stage.DNS, address="a.test", lookup_error=socket.EAI_AGAIN),
        "dns_failure",
        "lookup a.test: server misbehaving",
        "",
        "certain",
    ),
    *(
        (
            seen(Stage.TCP, errno=number),
            "unreachable",
            "dial tcp 10.0.0.7:9443: connect: no route to host",
            "",
            "certain",
        )
        for number in (errno.ENETUNREACH, errno.EHOSTUNREACH)
    ),
    (
        seen(Stage.TCP, errno=errno.EACCES),
        "connect_failed",
        "dial tcp 10.0.0.7:9443: connect failed",
        "",
        "certain",
    ),
]


@pytest.mark.parametrize(("evidence", "code", "message", "field", "confidence"), ROWS)
def test_evidence_becomes_code_message_field_and_confidence(
    evidence: Evidence, code: str, message: str, field: str, confidence: str
) -> None:
    """One row of the contract."""
    found = diagnose(evidence)
    assert (found.code, found.message, found.field, found.confidence) == (code, message, field, confidence)
    assert found.cause
    assert found.fix
    assert found.evidence["stage"] == evidence.stage.value


@pytest.mark.parametrize("number", sorted(ALERT_TEXTS))
def test_each_alert_is_told_in_gos_words(number: int) -> None:
    """An alert that the upstream sent: our certificate's code, a protocol's, or the general one."""
    found = diagnose(seen(alert_read=number))
    assert found.message == f"remote error: tls: {ALERT_TEXTS[number]}"
    assert found.code == ALERT_CODES.get(number, "tls_alert")
    assert found.evidence["alert"] == {"direction": "read", "number": number, "text": ALERT_TEXTS[number]}


def test_alert_without_a_name_has_its_number() -> None:
    """As Go prints it."""
    assert diagnose(seen(alert_read=200)).message == "remote error: tls: alert(200)"


def test_what_we_refused_comes_before_what_the_upstream_answered() -> None:
    """The upstream's alert only follows from ours."""
    found = diagnose(seen(verify_code=20, alert_written=48, alert_read=46, peer_closed=True))
    assert found.code == "unknown_authority"
    assert found.evidence["verify_code"] == 20


def test_certificate_is_no_reason_when_verification_is_off() -> None:
    """Then only the pin is ours to refuse with; what verification would say can still be asked for."""
    evidence = seen(is_skipped=True, verify_code=10, name_problem=NameProblem.NAME_MISMATCH, peer_closed=True)
    assert diagnose(evidence).code == "connection_closed"
    would_be = diagnose_certificate(evidence)
    assert would_be is not None
    assert would_be.code == "expired"
    assert diagnose(seen(is_skipped=True, verify_code=20, is_pin_mismatch=True)).code == "pin_mismatch"
    assert diagnose_certificate(seen()) is None


def test_missing_issuer_is_named_with_its_key() -> None:
    """So that the right CA can be looked for."""
    found = diagnose(seen(verify_code=20))
    assert "CN=Orders CA (key id ab12)" in found.cause
    assert "CA Certificate" in found.cause
    assert "system trust store" in diagnose(seen(verify_code=20, is_system_trust=True)).cause


def test_validity_shows_both_clocks() -> None:
    """The certificate's and ours."""
    cause = diagnose(seen(verify_code=10)).cause
    assert "2026-04-01T00:00:00Z" in cause
    assert "2026-05-01T12:00:00Z" in cause


def test_name_fix_offers_the_names_of_the_certificate() -> None:
    """At most ten of them."""
    names = tuple(f"n{number}.test" for number in range(12))
    found = diagnose(seen(name_problem=NameProblem.NAME_MISMATCH, names=names, expected_name="c"))
    assert "n0.test" in found.fix
    assert "and 2 more" in found.fix
    assert "n10.test" not in found.fix


def test_pin_mismatch_shows_old_and_new_key() -> None:
    """So that the new one can be approved."""
    cause = diagnose(seen(is_pin_mismatch=True, pins=("aa", "bb"))).cause
    assert "5b" in cause
    assert "aa, bb" in cause


def test_acceptable_cas_are_explained() -> None:
    """Which CAs the upstream accepts, and whether ours is among them."""
    names = ("CN=Orders CA", "CN=Backup CA")
    refused = diagnose(seen(alert_read=48, acceptable_ca_names=names, **ASKED)).cause
    assert "CN=Orders CA, CN=Backup CA, and ours, CN=Aegis CA, is not among them." in refused
    none_sent = diagnose(seen(alert_read=116, client_certificate_requested=True, acceptable_ca_names=names)).cause
    assert none_sent.endswith("It accepts certificates of CN=Orders CA, CN=Backup CA.")
    named = ClientIdentity(subject="CN=aegis", issuer="CN=Orders CA", not_after=NOW, is_acceptable=True)
    accepted = diagnose(seen(alert_read=48, acceptable_ca_names=names, **{**ASKED, "client": named})).cause
    assert "ours, CN=Orders CA, is among them" in accepted
    assert "accepts" not in diagnose(seen(alert_read=48, **ASKED)).cause


def test_certificate_that_could_not_be_sent_is_told_from_none() -> None:
    """Configured, asked for, and without a signature algorithm that the upstream takes."""
    assert "none is configured" in diagnose(seen(alert_read=116, client_certificate_requested=True)).cause
    unsent = diagnose(seen(alert_read=116, client=OURS, client_certificate_requested=True)).cause
    assert "was not sent" in unsent


def test_timeout_says_in_which_stage_and_how_long() -> None:
    """Five seconds, and what was waited for."""
    for stage, words in ((Stage.DNS, "looked up"), (Stage.TLS, "in the TLS handshake"), (Stage.HTTP, "answered")):
        cause = diagnose(seen(stage, timed_out=True, timeout_s=5.0)).cause
        assert "within 5 s" in cause
        assert words in cause


def test_own_expiry_is_told_before_anything_is_sent() -> None:
    """Our certificate's end and our clock."""
    found = diagnose_own_expiry(seen(Stage.CONFIGURATION, client=OURS))
    assert (found.code, found.message) == ("client_certificate_not_after", "x509: certificate has expired")
    assert found.field == "client_certificate"
    assert "2026-05-01T12:00:00Z" in found.cause


def test_configuration_problem_keeps_its_message_and_field() -> None:
    """What the builder refused."""
    found = diagnose_configuration("key_mismatch", "tls: private key does not match public key", "client_key")
    assert (found.code, found.field) == ("key_mismatch", "client_key")
    assert found.message == "tls: private key does not match public key"
    assert "belongs" in found.fix
    assert found.evidence["stage"] == "configuration"
    assert diagnose_configuration("bad_ciphers", "m", "ciphers").fix == "Correct this field."


def test_every_word_of_every_remedy_is_known() -> None:
    """No text has a hole, with whatever evidence."""
    known = set(words_of(Evidence(stage=Stage.TLS)))
    for code, remedy in REMEDIES.items():
        for text in (remedy.cause, remedy.fix, remedy.field):
            used = {name for _, name, _, _ in string.Formatter().parse(text) if name}
            assert used <= known, code


def test_texts_of_strangers_are_not_read_as_placeholders() -> None:
    """A subject with braces in it stays as it is."""
    suspect = Suspect(
        subject="CN={issuer} {0} {",
        issuer="}{",
        issuer_key_id="",
        not_before=None,
        not_after=None,
        fingerprint_sha256="",
        spki_sha256="",
    )
    assert "CN={issuer} {0} {" in diagnose(seen(verify_code=20, suspect=suspect)).cause
