"""The configuration in force."""

import dataclasses
import gc
import tracemalloc

import pytest

from proxyworker import runtime
from proxyworker.build import build
from proxyworker.net.deadlines import Sweep
from proxyworker.net.pool import UpstreamPool
from proxyworker.net.route import Target
from proxyworker.runtime import Configuration
from proxyworker.snapshot import (
    Deadlines,
    HostEntry,
    LoadedEntry,
    Upstream,
    encode_entry,
)
from tests.proxyworker.entries import CLIENT, HTTPS, SITE, site, tls, tombstone
from tests.proxyworker.net.proxy import entry, loaded, upstream
from tests.support.certificates import Authority


@pytest.fixture
def configuration() -> Configuration:
    """Nothing in force yet."""
    return Configuration(loop=None, sweep=Sweep(lambda: 0.0))  # type: ignore[arg-type]


def install(configuration: Configuration, *entries: LoadedEntry) -> None:
    configuration.install([build(each) for each in entries])


def name_at(configuration: Configuration, domain: bytes) -> str | None:
    route = configuration.current.find(domain)
    return route.name if route else None


# HTTPS


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
    assert (route.rejected, route.certificate, len(route.targets)) == ("", None, 1)


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


# Installing


def test_install_adds_replaces_and_forgets(configuration: Configuration) -> None:
    """What a request captured before does not change."""
    install(configuration, loaded(entry(domain="a.test", host_id="1")), loaded(entry(domain="b.test", host_id="2"), 2))
    before = configuration.current.find(b"a.test")
    assert (configuration.generation, configuration.accepted_count) == (2, 2)
    install(configuration, loaded(entry(domain="c.test", host_id="1"), 3), tombstone("2", 4))
    assert [name_at(configuration, domain) for domain in (b"a.test", b"b.test", b"c.test")] == [None, None, "c.test"]
    assert before is not None
    assert (before.name, len(before.targets)) == ("a.test", 1)
    assert (configuration.generation, configuration.accepted_count) == (4, 1)


def test_a_bad_entry_stops_no_other(configuration: Configuration) -> None:
    """It answers 502 with its reason; the others take traffic."""
    bad = loaded(entry(HTTPS, domain="bad.test", host_id="bad", upstream_tls=tls(ca_certificate="x")))
    install(configuration, bad, loaded(entry(domain="good.test", host_id="good"), 2))
    route = configuration.current.find(b"bad.test")
    assert route is not None
    assert route.rejected.startswith("bad_pem")
    assert route.targets == ()
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


def test_a_large_batch_lets_others_in_and_leaves_no_domain_alone(
    configuration: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is installed, a domain that moves answers for its old host or for its new one."""
    monkeypatch.setattr(runtime, "HOSTS_AT_ONCE", 1)
    install(configuration, loaded(entry(domain="a.test", host_id="1")), loaded(entry(domain="b.test", host_id="2")))
    swapped = [
        build(loaded(entry(domain=name, host_id=host_id), 3)) for host_id, name in [("1", "b.test"), ("2", "a.test")]
    ]
    seen = []
    for _ in configuration.installing([*swapped, build(tombstone("3", 4))]):
        seen.append([configuration.current.find(domain) is not None for domain in (b"a.test", b"b.test")])
    assert seen == [[True, True]] * 5  # three hosts, two pools that are released
    routes = [configuration.current.find(domain) for domain in (b"a.test", b"b.test")]
    assert [route.host_id for route in routes if route] == ["2", "1"]
    assert configuration.generation == 4


def test_counts_follow_what_is_refused_and_healed(configuration: Configuration) -> None:
    """Wholly, by HTTPS only, and not any more."""
    bad = entry(HTTPS, upstream_tls=tls(ca_certificate="x"))
    install(configuration, loaded(bad), loaded(dataclasses.replace(site(), host_id="2", domains=("b.test",))))
    assert (configuration.accepted_count, configuration.rejected_count) == (1, 2)
    install(configuration, loaded(entry(), 2), tombstone("2", 3))
    assert (configuration.accepted_count, configuration.rejected_count, configuration.rejected) == (1, 0, ())


# Pools


def pools(configuration: Configuration, domain: bytes) -> list[object]:
    route = configuration.current.find(domain)
    assert route is not None
    return [target.pool for target in route.targets]


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


def targets(configuration: Configuration) -> tuple[Target, ...]:
    route = configuration.current.find(b"app.test")
    assert route is not None
    return route.targets


def test_the_state_of_an_upstream_is_kept_per_host_and_identity(configuration: Configuration) -> None:
    """A change of the host that leaves its upstream what it was keeps it; another identity is another upstream."""
    host = entry(HTTPS, upstream_tls=tls())
    install(configuration, loaded(host), loaded(dataclasses.replace(host, host_id="2", domains=("b.test",))))
    [before] = targets(configuration)
    [other] = configuration.current.find(b"b.test").targets  # type: ignore[union-attr]
    assert before.pool is other.pool
    assert before.state is not other.state
    changed = dataclasses.replace(host, deadlines=Deadlines(connect_s=1.0), upstreams=(upstream(2), HTTPS))
    install(configuration, loaded(changed, 2))
    assert targets(configuration)[1].state is before.state
    install(configuration, loaded(dataclasses.replace(host, upstream_tls=tls(server_name="x.internal")), 3))
    assert targets(configuration)[0].state is not before.state


# Active checks


def test_what_checks_say_reaches_the_upstream_before_or_after_its_host(configuration: Configuration) -> None:
    """Only what is down, or not any more, is told; an upstream that no host has is remembered all the same."""
    assert configuration.note_checks({"u1": False, "u2": True}) == []
    install(configuration, loaded(entry(upstream(1), upstream(2), upstream(3))))
    assert [target.state.is_checked_up for target in targets(configuration)] == [False, True, None]
    assert configuration.note_checks({"u1": True, "u2": False, "u3": True, "u9": False}) == [
        ("app.test", "http://10.0.0.1:8080", True),
        ("app.test", "http://10.0.0.2:8080", False),
    ]
    assert list(configuration.upstreams_checked()) == [
        ("app.test", "http://10.0.0.1:8080", True),
        ("app.test", "http://10.0.0.2:8080", False),
        ("app.test", "http://10.0.0.3:8080", True),
    ]
    assert configuration.note_checks({"u2": None, "u3": None}) == [("app.test", "http://10.0.0.2:8080", None)]
    assert configuration.checks == {"u1": True, "u9": False}


def test_a_verdict_finds_its_upstream_wherever_it_moves(configuration: Configuration) -> None:
    """Into another host, out of a rejected one, and nowhere when its host is gone."""
    other = {"domain": "b.test", "host_id": "h2"}
    install(configuration, loaded(entry(upstream(1), upstream(2))), loaded(entry(upstream(3), **other)))
    install(configuration, loaded(entry(upstream(1), upstream(3), **other), 2), loaded(entry(upstream(2)), 2))
    assert [change.host for change in configuration.note_checks(dict.fromkeys(("u1", "u2", "u3"), False))] == [
        "b.test",
        "app.test",
        "b.test",
    ]
    install(configuration, loaded(entry(HTTPS, upstream(1), upstream_tls=tls(ca_certificate="x"), **other), 3))
    assert configuration.note_checks({"u1": True, "u3": True}) == []
    install(configuration, tombstone("h1", 4), tombstone("h2", 4))
    assert configuration.note_checks({"u1": False, "u2": True}) == []
    assert configuration.checks == {"u1": False, "u2": True, "u3": True}


def test_an_operators_change_keeps_the_verdict_of_a_single_upstream(configuration: Configuration) -> None:
    """Its back-off is forgotten when it is alone; that its checks fail is not."""
    install(configuration, loaded(entry(upstream(1), upstream(2))))
    configuration.note_checks({"u1": False})
    install(configuration, loaded(entry(upstream(1)), 2))
    [alone] = targets(configuration)
    assert (alone.state.is_doubtful, alone.state.admits(0.0)) == (True, False)


def test_what_checks_say_takes_little_memory(configuration: Configuration) -> None:
    """Less than 400 bytes for each upstream, 4 MB for 10 000 hosts, however often they flap; all of it comes back."""
    ids = [f"00000000-0000-4000-8000-{number:012}" for number in range(1000)]
    for number, upstream_id in enumerate(ids):
        own = dataclasses.replace(upstream(1), upstream_id=upstream_id)
        install(configuration, loaded(entry(own, domain=f"d{number}.test", host_id=f"h{number}")))
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for is_up in (True, False, True):
            # As they come from Redis: other strings than those of the configuration.
            configuration.note_checks({str(each.encode(), "ascii"): is_up for each in ids})
        used = tracemalloc.get_traced_memory()[0] - before
        configuration.note_checks(dict.fromkeys(ids))
    finally:
        tracemalloc.stop()
    assert used < 400 * len(ids)
    assert configuration.checks == {}


def test_what_a_host_with_one_upstream_does_without(configuration: Configuration) -> None:
    """It has nothing to choose from; an upstream in drain takes no requests."""
    for upstreams, has_only, may_choose in (
        ((upstream(1),), True, False),
        ((upstream(1, drain=True),), False, False),
        ((upstream(1), upstream(2, drain=True)), False, False),
        ((upstream(1), upstream(2, backup=True)), False, True),
    ):
        install(configuration, loaded(entry(upstreams=upstreams)))
        route = configuration.current.find(b"app.test")
        assert route is not None
        assert (route.only_target is not None, route.passive_health is not None) == (has_only, may_choose)
        assert (route.budget is not None) == may_choose


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
    assert [target.label for target in route.targets] == ["http://[::1]:80", "https://app.internal:8080"]


def test_domains_of_an_entry_are_used_as_they_stand(configuration: Configuration) -> None:
    """Wildcards too."""
    host = HostEntry(host_id="1", name="n", domains=("a.test", "*.a.test"), upstreams=(upstream(),))
    assert encode_entry(host)
    install(configuration, loaded(host))
    assert [name_at(configuration, domain) for domain in (b"a.test", b"x.a.test", b"y.test")] == ["n", "n", None]


# Expiries


def test_ends_of_certificates(configuration: Configuration) -> None:
    """Of what upstreams and what clients are shown; a host without any has none, a rejected one neither."""
    mutual = tls(client_certificate=CLIENT.chain_pem)
    host = dataclasses.replace(site(), upstreams=(HTTPS,), upstream_tls=mutual)
    plain = entry(domain="plain.test", host_id="h2")
    install(configuration, loaded(host, key_pem=CLIENT.key_pem.encode(), downstream_key_pem=SITE.key_pem.encode()))
    install(configuration, loaded(plain))
    assert list(configuration.expiries()) == [
        ("app.test", "client", CLIENT.certificate.not_valid_after_utc.timestamp()),
        ("app.test", "server", SITE.certificate.not_valid_after_utc.timestamp()),
    ]
    install(configuration, loaded(host, generation=2, key_pem=b"", downstream_key_pem=b""))
    assert list(configuration.expiries()) == []


def test_access_log_of_a_host(configuration: Configuration) -> None:
    """On unless the host says otherwise; that of an entry that cannot be read is on."""
    install(configuration, loaded(entry(access_log=False)), loaded(entry(domain="b.test", host_id="h2")))
    routes = [configuration.current.find(domain) for domain in (b"app.test", b"b.test")]
    assert [route.access_log for route in routes if route] == [False, True]


# Exceptions from verification


class Time:
    """Seconds of Unix time that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def unix_time() -> Time:
    return Time()


@pytest.fixture
def timed(unix_time: Time) -> Configuration:
    """Nothing in force yet, at a time that the test moves."""
    return Configuration(loop=None, sweep=Sweep(lambda: 0.0), unix_time=unix_time)  # type: ignore[arg-type]


def excepted(until: float, host_id: str = "h1", domain: str = "app.test") -> HostEntry:
    """A host that does not verify its upstream until then."""
    settings = tls(skip_verify=True, skip_verify_until=until)
    return entry(
        upstream(scheme="https", address=f"{host_id}.internal"), upstream_tls=settings, host_id=host_id, domain=domain
    )


def is_verified(configuration: Configuration, domain: bytes = b"app.test") -> bool:
    [pool] = pools(configuration, domain)
    assert isinstance(pool, UpstreamPool)
    assert pool.context is not None
    return not pool.context.spec.skip_verify


def test_an_exception_ends_at_its_time_without_being_told(timed: Configuration, unix_time: Time) -> None:
    """Once, by name; another host's goes on."""
    install(timed, loaded(excepted(2000)), loaded(excepted(3000, "h2", "b.test")))
    [before] = pools(timed, b"app.test")
    unix_time.now = 1999.9
    assert timed.end_exceptions() == []
    assert not is_verified(timed)
    unix_time.now = 2000
    assert timed.end_exceptions() == ["app.test"]
    assert is_verified(timed)
    assert not is_verified(timed, b"b.test")
    assert before not in timed._pools.values()
    assert (timed.end_exceptions(), timed.generation, timed.accepted_count) == ([], 1, 2)
    unix_time.now = 9000
    assert timed.end_exceptions() == ["b.test"]


def test_an_exception_that_is_over_never_begins(timed: Configuration, unix_time: Time) -> None:
    """As when a worker starts while nobody has ended it."""
    unix_time.now = 2000
    install(timed, loaded(excepted(2000)))
    assert is_verified(timed)
    assert timed.end_exceptions() == []


def test_a_change_of_the_host_replaces_the_end(timed: Configuration, unix_time: Time) -> None:
    """Later, never, or with the host itself."""
    for host_id, domain in (("h1", "app.test"), ("h2", "b.test"), ("h3", "c.test")):
        install(timed, loaded(excepted(2000, host_id, domain)))
    install(timed, loaded(excepted(3000), 2), tombstone("h2", 2))
    install(timed, loaded(entry(HTTPS, host_id="h3", domain="c.test", upstream_tls=tls(skip_verify=True)), 3))
    unix_time.now = 2500
    assert timed.end_exceptions() == []
    assert not is_verified(timed)
    assert not is_verified(timed, b"c.test")
    unix_time.now = 3000
    assert timed.end_exceptions() == ["app.test"]
    assert name_at(timed, b"b.test") is None


def test_a_domain_that_moved_stays_where_it_is(timed: Configuration, unix_time: Time) -> None:
    """Also while the change of the host that had it is still to come."""
    install(timed, loaded(excepted(2000)))
    install(timed, loaded(entry(host_id="h2", domain="app.test"), 2))
    unix_time.now = 2000
    timed.end_exceptions()
    route = timed.current.find(b"app.test")
    assert route is not None
    assert route.host_id == "h2"


def test_what_cannot_be_verified_is_refused(timed: Configuration, unix_time: Time) -> None:
    """Not served as before."""
    built = build(loaded(excepted(2000)))
    assert built.verified is not None
    unusable = dataclasses.replace(built.verified, context=None, rejected="no trust store")
    timed.install([dataclasses.replace(built, verified=unusable)])
    unix_time.now = 2000
    timed.end_exceptions()
    assert timed.rejected == (("h1", "no trust store"),)
    assert targets(timed) == ()
