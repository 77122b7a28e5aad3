"""From a snapshot entry to what traffic needs of it."""

import dataclasses

import pytest

from proxyworker.build import build
from proxyworker.snapshot import (
    SCHEMA_VERSION,
    HeaderRule,
    HostEntry,
    LoadedEntry,
    UpstreamTLS,
    encode_entry,
    entry_digest,
)
from tests.proxyworker.entries import CA, CLIENT, HTTPS, SITE, site, tls, tombstone
from tests.proxyworker.net.proxy import entry, loaded, upstream


def test_certificate_for_clients_is_built_with_its_key() -> None:
    """It covers what it names; without one, clients get the default certificate."""
    built = build(loaded(site(), downstream_key_pem=SITE.key_pem.encode()))
    assert built.certificate is not None
    assert built.certificate.names.cover("app.test")
    assert (built.rejected, built.https_rejected, built.reason) == ("", "", "")
    assert build(loaded(entry())).certificate is None


def test_another_certificate_is_another_entry() -> None:
    """The key takes part in the digest through its fingerprint."""
    digests = {entry_digest(encode_entry(site(key_spki_sha256=name))) for name in ("00", "11")}
    assert len(digests) == 2


def test_http_host_needs_no_context() -> None:
    """TLS settings do not concern http upstreams."""
    built = build(loaded(entry(upstream_tls=UpstreamTLS(ca_certificate="nonsense"))))
    assert (built.context, built.rejected) == (None, "")
    assert built.authorities == (b"10.0.0.1:8080",)


def test_server_name_is_the_authority_of_https_upstreams_only() -> None:
    """The name that is checked is also the name that is asked for."""
    built = build(loaded(entry(HTTPS, upstream(2), upstream_tls=tls(server_name="orders.internal"))))
    assert built.authorities == (b"orders.internal:8080", b"10.0.0.2:8080")


@pytest.mark.parametrize(
    ("host", "key", "reason"),
    [
        (entry(HTTPS, upstream_tls=tls(ca_certificate="x")), None, "bad_pem: This is not PEM"),
        (
            entry(HTTPS, upstream_tls=tls(client_certificate=CLIENT.chain_pem)),
            None,
            "client_certificate_missing: mTLS is on but no client key is configured",
        ),
        (
            entry(HTTPS, upstream_tls=tls(client_certificate=CLIENT.chain_pem)),
            CA.client().key_pem,
            "key_mismatch: tls: private key does not match public key",
        ),
        (
            entry(HTTPS, upstream_tls=tls(server_name="bücher")),
            None,
            "bad_name: This is not a name that a certificate can hold.",
        ),
        (entry(HTTPS, upstream_tls=tls(server_name="a\0b")), None, "bad_name: "),
        (entry(upstream(address="bücher")), None, "configuration cannot be used: UnicodeEncodeError"),
    ],
)
def test_what_cannot_be_used_is_rejected_with_the_reason(host: HostEntry, key: str | None, reason: str) -> None:
    """Building never raises; everything that could fail under traffic fails here."""
    built = build(loaded(host, key_pem=key.encode() if key else None))
    assert built.rejected.startswith(reason)
    assert built.context is None


def test_key_that_cannot_be_opened_rejects_without_its_text() -> None:
    """An exception of the keyring may hold anything: only its type is told."""

    def open_client_key() -> bytes:
        raise ValueError("secret")

    sealed = dataclasses.replace(
        loaded(entry(HTTPS, upstream_tls=tls(client_certificate=CLIENT.chain_pem))), open_client_key=open_client_key
    )
    assert build(sealed).rejected == "configuration cannot be used: ValueError"


def test_unreadable_entry_and_tombstone() -> None:
    """The one is rejected, the other forgotten."""
    bad = LoadedEntry(host_id="h", generation=3, digest="", entry_json='{"schema_version": 99}')
    assert build(bad).rejected == f"entry has schema version 99, this worker knows {SCHEMA_VERSION}"
    gone = build(tombstone("h", 4))
    assert (gone.entry, gone.rejected, gone.generation) == (None, "", 4)


def test_nothing_that_is_equal_is_built_twice() -> None:
    """Contexts, certificates and settings of hosts that have the same."""
    hosts = [
        dataclasses.replace(site(), upstreams=(HTTPS,), upstream_tls=tls(), host_id=host_id) for host_id in ("1", "2")
    ]
    one, two = (build(loaded(host, downstream_key_pem=SITE.key_pem.encode())) for host in hosts)
    assert one.context is two.context is not None
    assert one.certificate is two.certificate is not None
    assert one.entry is not None
    assert two.entry is not None
    assert one.entry.deadlines is two.entry.deadlines
    assert (one.entry.upstream_tls.ca_certificate, one.entry.downstream_tls.certificate) == ("", "")


def test_a_known_certificate_with_another_key_is_refused() -> None:
    """What is shared was asked for with the same key."""
    good = entry(HTTPS, upstream_tls=tls(client_certificate=CLIENT.chain_pem))
    kept = build(loaded(good, key_pem=CLIENT.key_pem.encode()))
    served = build(loaded(site(), downstream_key_pem=SITE.key_pem.encode()))
    assert not kept.reason + served.reason
    assert build(loaded(good, key_pem=SITE.key_pem.encode())).rejected.startswith("key_mismatch")
    assert build(loaded(site(), downstream_key_pem=CLIENT.key_pem.encode())).https_rejected.startswith("key_mismatch")


def test_secret_values_of_rules_are_opened_once_and_stay_out_of_the_entry() -> None:
    """What traffic uses is made of them; the entry keeps their names only."""
    rule = HeaderRule(action="set", name="Authorization", secret="s1")
    sealed = dataclasses.replace(
        loaded(entry(request_headers=(rule,))), open_header_secrets=lambda: b'{"s1": "Bearer canary"}'
    )
    built = build(sealed)
    requests, responses = built.header_rules
    assert requests is not None
    assert requests.applied([b"authorization: x", b"a: b"]) == [b"a: b", b"Authorization: Bearer canary"]
    assert responses is None
    assert "canary" not in repr(built)


@pytest.mark.parametrize(
    ("opened", "reason"),
    [
        (None, "a header rule has a secret value, which is missing"),
        (b"{}", "header rule for Authorization whose secret value is missing"),
        (b"canary", "configuration cannot be used: JSONDecodeError"),
        (b'{"s1": "canary\\r\\nX: y"}', "header rule for Authorization with a control character in its value"),
    ],
)
def test_a_host_whose_rules_lack_their_secret_is_refused(opened: bytes | None, reason: str) -> None:
    """Requests without the credential would be answered as those of anybody."""
    sealed = loaded(entry(response_headers=(HeaderRule(action="set", name="Authorization", secret="s1"),)))
    if opened is not None:
        sealed = dataclasses.replace(sealed, open_header_secrets=lambda: opened)
    built = build(sealed)
    assert (built.rejected, built.header_rules) == (reason, (None, None))


def test_an_exception_with_an_end_is_built_both_ways() -> None:
    """What verifies is ready before it is needed, with the same key; only the end has it take over."""
    settings = tls(client_certificate=CLIENT.chain_pem, skip_verify=True, skip_verify_until=2000.0)
    built = build(loaded(entry(HTTPS, upstream_tls=settings), key_pem=CLIENT.key_pem.encode()))
    verified = built.at(2000.0)
    assert built.at(1999.9) is built
    assert verified is built.verified
    assert built.context is not None
    assert verified.context is not None
    assert (built.context.spec.skip_verify, verified.context.spec.skip_verify) == (True, False)
    assert verified.context.client_chain == built.context.client_chain
    assert (verified.verified, verified.at(9e9)) == (None, verified)
    assert dataclasses.replace(verified, context=None) == dataclasses.replace(
        built, context=None, verified=None, skip_verify_until=0.0
    )


@pytest.mark.parametrize("changes", [{"skip_verify": True}, {}, {"skip_verify_until": 2000.0}])
def test_what_does_not_end_is_built_once(changes: dict[str, object]) -> None:
    """Nothing is kept for later."""
    built = build(loaded(entry(HTTPS, upstream_tls=tls(**changes))))
    assert (built.verified, built.at(9e9)) == (None, built)
