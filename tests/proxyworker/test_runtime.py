"""From snapshot entries to what traffic uses."""

import dataclasses

import pytest

from proxyworker.net.deadlines import Sweep
from proxyworker.runtime import Configuration, build
from proxyworker.snapshot import (
    SCHEMA_VERSION,
    DownstreamTLS,
    HostEntry,
    LoadedEntry,
    Upstream,
    UpstreamTLS,
    encode_entry,
    entry_digest,
)
from tests.proxyworker.net.proxy import entry, loaded, upstream
from tests.support.certificates import Authority

CA = Authority()
CLIENT = CA.client()
SITE = CA.server("app.test")
HTTPS = upstream(scheme="https", address="app.internal")


def tls(**changes: object) -> UpstreamTLS:
    return UpstreamTLS(**{"ca_certificate": CA.pem, **changes})  # type: ignore[arg-type]


def tombstone(host_id: str, generation: int) -> LoadedEntry:
    return LoadedEntry(host_id=host_id, generation=generation, digest="", entry_json="")


@pytest.fixture
def configuration() -> Configuration:
    """Nothing in force yet."""
    return Configuration(loop=None, sweep=Sweep(lambda: 0.0))  # type: ignore[arg-type]


def install(configuration: Configuration, *entries: LoadedEntry) -> None:
    configuration.install([build(each) for each in entries])


def name_at(configuration: Configuration, domain: bytes) -> str | None:
    route = configuration.current.find(domain)
    return route.name if route else None


# Building


def site(**changes: object) -> HostEntry:
    """A host with a certificate for its clients."""
    return entry(downstream_tls=DownstreamTLS(**{"certificate": SITE.chain_pem, **changes}))  # type: ignore[arg-type]


def test_certificate_for_clients_is_built_with_its_key() -> None:
    """It covers what it names; without one, clients get the default certificate."""
    built = build(loaded(site(), downstream_key_pem=SITE.key_pem.encode()))
    assert built.certificate is not None
    assert built.certificate.names.cover("app.test")
    assert (built.rejected, built.https_rejected, built.reason) == ("", "", "")
    assert build(loaded(entry())).certificate is None


@pytest.mark.parametrize(
    ("host", "key_pem", "reason"),
    [
        (site(), None, "key_missing: the certificate for clients has no key"),
        (site(), CLIENT.key_pem.encode(), "key_mismatch: tls: private key does not match public key"),
        (site(certificate="x"), SITE.key_pem.encode(), "bad_pem: This is not PEM"),
    ],
)
def test_unusable_certificate_rejects_https_only(
    configuration: Configuration, host: HostEntry, key_pem: bytes | None, reason: str
) -> None:
    """The host goes on by plain HTTP, and the worker's report says why HTTPS does not."""
    install(configuration, loaded(host, downstream_key_pem=key_pem), loaded(entry(domain="b.test", host_id="h2")))
    [(host_id, reported)] = configuration.rejected
    assert host_id == "h1"
    assert reported.startswith(f"HTTPS is refused: {reason}")
    assert configuration.accepted_count == 2
    route = configuration.current.find(b"app.test")
    assert route is not None
    assert route.https_rejected.startswith(reason)
    assert (route.rejected, route.certificate, len(route.balancer.order())) == ("", None, 1)


def test_unusable_upstream_configuration_leaves_the_certificate(configuration: Configuration) -> None:
    """Clients get their 502 over the right certificate."""
    host = entry(HTTPS, upstream_tls=tls(ca_certificate="x"), downstream_tls=site().downstream_tls)
    install(configuration, loaded(host, downstream_key_pem=SITE.key_pem.encode()))
    route = configuration.current.find(b"app.test")
    assert route is not None
    assert route.rejected
    assert route.certificate is not None


def test_an_entry_that_cannot_be_read_has_no_https(configuration: Configuration) -> None:
    """It may have had a certificate of its own: the default one is not shown in its place."""
    install(configuration, loaded(entry()))
    install(configuration, LoadedEntry(host_id="h1", generation=2, digest="", entry_json='{"schema_version": 99}'))
    route = configuration.current.find(b"app.test")
    assert route is not None
    assert route.https_rejected == route.rejected != ""


def test_flags_of_https_reach_the_route(configuration: Configuration) -> None:
    """The field line is made once."""
    install(configuration, loaded(site(force_https=True, hsts_max_age_s=600), downstream_key_pem=SITE.key_pem.encode()))
    route = configuration.current.find(b"app.test")
    assert route is not None
    assert (route.force_https, route.hsts) == (True, b"Strict-Transport-Security: max-age=600")


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


# Installing


def test_install_adds_replaces_and_forgets(configuration: Configuration) -> None:
    """One assignment; what was captured before does not change."""
    install(configuration, loaded(entry(domain="a.test", host_id="1")), loaded(entry(domain="b.test", host_id="2"), 2))
    before = configuration.current
    assert (configuration.generation, configuration.accepted_count) == (2, 2)
    install(configuration, loaded(entry(domain="c.test", host_id="1"), 3), tombstone("2", 4))
    assert [name_at(configuration, domain) for domain in (b"a.test", b"b.test", b"c.test")] == [None, None, "c.test"]
    assert before.find(b"a.test") is not None
    assert (configuration.generation, configuration.accepted_count) == (4, 1)


def test_a_bad_entry_stops_no_other(configuration: Configuration) -> None:
    """It answers 502 with its reason; the others take traffic."""
    bad = loaded(entry(HTTPS, domain="bad.test", host_id="bad", upstream_tls=tls(ca_certificate="x")))
    install(configuration, bad, loaded(entry(domain="good.test", host_id="good"), 2))
    route = configuration.current.find(b"bad.test")
    assert route is not None
    assert route.rejected.startswith("bad_pem")
    assert route.balancer.order() == ()
    assert name_at(configuration, b"good.test") == "good.test"
    assert [host_id for host_id, _ in configuration.rejected] == ["bad"]
    assert configuration.accepted_count == 1


def test_entry_that_becomes_unreadable_keeps_its_domains(configuration: Configuration) -> None:
    """They answer 502 instead of 404, and a later good entry heals them."""
    good = entry(domain="a.test", host_id="1")
    install(configuration, loaded(good))
    install(configuration, LoadedEntry(host_id="1", generation=2, digest="", entry_json="{}"))
    route = configuration.current.find(b"a.test")
    assert route is not None
    assert route.rejected == "malformed entry: KeyError"
    install(configuration, loaded(good, 3))
    route = configuration.current.find(b"a.test")
    assert route is not None
    assert not route.rejected


@pytest.mark.parametrize("in_one_batch", [True, False])
@pytest.mark.parametrize("taker_first", [True, False])
def test_a_domain_moves_between_hosts_in_any_order(
    configuration: Configuration, in_one_batch: bool, taker_first: bool
) -> None:
    """The host that gives a domain up does not take it from the one that has it by now."""
    install(configuration, loaded(entry(domain="a.test", host_id="1")), loaded(entry(domain="b.test", host_id="2")))
    giver = loaded(entry(domain="c.test", host_id="1"), 3)
    taker = loaded(HostEntry(host_id="2", name="taker", domains=("a.test", "b.test"), upstreams=(upstream(),)), 4)
    order = (taker, giver) if taker_first else (giver, taker)
    for batch in [order] if in_one_batch else [(each,) for each in order]:
        install(configuration, *batch)
    assert [name_at(configuration, domain) for domain in (b"a.test", b"b.test", b"c.test")] == ["taker"] * 2 + [
        "c.test"
    ]


def test_of_a_host_that_comes_twice_the_last_one_stands(configuration: Configuration) -> None:
    """Nothing of the first is left."""
    install(configuration, loaded(entry(domain="a.test")), loaded(entry(domain="b.test"), 2))
    assert [name_at(configuration, domain) for domain in (b"a.test", b"b.test")] == [None, "b.test"]


# Pools


def pools(configuration: Configuration, domain: bytes) -> list[object]:
    route = configuration.current.find(domain)
    assert route is not None
    return [target.pool for target in route.balancer.order()]


def test_hosts_with_one_identity_share_a_pool(configuration: Configuration) -> None:
    """Same upstream, same identity: same connections."""
    for number in ("1", "2"):
        install(configuration, loaded(entry(HTTPS, domain=f"{number}.test", host_id=number, upstream_tls=tls())))
    assert pools(configuration, b"1.test") == pools(configuration, b"2.test")


@pytest.mark.parametrize(
    "changes",
    [
        {"client_certificate": CLIENT.chain_pem},
        {"server_name": "other.internal"},
        {"skip_verify": True},
        {"ca_certificate": Authority().pem},
        {"ca_certificate": ""},
    ],
)
def test_hosts_with_different_identities_share_nothing(
    configuration: Configuration, changes: dict[str, object]
) -> None:
    """Whatever makes the difference."""
    install(configuration, loaded(entry(HTTPS, domain="1.test", host_id="1", upstream_tls=tls())))
    other = entry(HTTPS, domain="2.test", host_id="2", upstream_tls=tls(**changes))
    install(configuration, loaded(other, key_pem=CLIENT.key_pem.encode()))
    [one], [two] = pools(configuration, b"1.test"), pools(configuration, b"2.test")
    assert one is not two


def test_an_unchanged_pool_survives_a_change_of_its_host(configuration: Configuration) -> None:
    """Renaming a host or adding an upstream does not cost the warm connections."""
    install(configuration, loaded(entry()))
    [pool] = pools(configuration, b"app.test")
    install(configuration, loaded(entry(upstream(1), upstream(2), preserve_host=True), 2))
    assert pools(configuration, b"app.test")[0] is pool


def test_close_retires_every_pool_and_use_counts_return_to_nothing(configuration: Configuration) -> None:
    """After all hosts are gone no pool is left."""
    install(
        configuration, loaded(entry(upstream(1), upstream(1), upstream(2))), loaded(entry(host_id="2", domain="b.test"))
    )
    install(configuration, tombstone("h1", 2), tombstone("2", 3))
    assert not configuration._pools
    assert not configuration._uses
    assert not configuration._owners
    configuration.close()


def test_labels_name_the_upstream(configuration: Configuration) -> None:
    """As an operator would write it."""
    ipv6 = Upstream(upstream_id="u", scheme="http", address="::1", port=80)
    install(configuration, loaded(entry(ipv6, HTTPS, upstream_tls=tls())))
    route = configuration.current.find(b"app.test")
    assert route is not None
    assert [target.label for target in route.balancer.order()] == ["http://[::1]:80", "https://app.internal:8080"]


def test_domains_of_an_entry_are_used_as_they_stand(configuration: Configuration) -> None:
    """Wildcards too."""
    host = HostEntry(host_id="1", name="n", domains=("a.test", "*.a.test"), upstreams=(upstream(),))
    assert encode_entry(host)
    install(configuration, loaded(host))
    assert [name_at(configuration, domain) for domain in (b"a.test", b"x.a.test", b"y.test")] == ["n", "n", None]
