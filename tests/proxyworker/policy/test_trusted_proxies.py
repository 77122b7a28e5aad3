"""What trusted proxies in front say about the client."""

import pytest

from proxyworker.policy.trusted_proxies import MAX_HOPS, ForwardedWay, TrustedProxies, client_key, parse_address
from proxyworker.protocol.request import parse_request

TRUSTED = TrustedProxies(["10.0.0.0/8", "2001:db8:1::/48", "192.0.2.1"])
PEER = "10.0.0.9"


def way(*fields: str, host: str = "app.test", scheme: str = "http", port: int = 8080) -> ForwardedWay:
    """The way of a request with these field lines, heard from PEER."""
    head = "".join(f"{line}\r\n" for line in ("GET / HTTP/1.1", f"Host: {host}", *fields, ""))
    return ForwardedWay(parse_request(head.encode("latin-1")), peer=PEER, scheme=scheme, port=port, trusted=TRUSTED)


def lines(told: ForwardedWay) -> dict[str, str]:
    """The field lines for the upstream."""
    text = told.lines(parse_request(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"), b"id-1").decode()
    return dict(line.split(": ", 1) for line in text.split("\r\n"))


@pytest.mark.parametrize(
    ("address", "is_trusted"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("11.1.2.3", False),
        ("192.0.2.1", True),
        ("192.0.2.2", False),
        ("2001:db8:1:2::3", True),
        ("2001:db8:2::1", False),
        ("fe80::1%eth0", False),
        ("unknown", False),
        ("", False),
    ],
)
def test_who_is_trusted(address: str, is_trusted: bool) -> None:
    """Whose address is in a network that the operator named; IPv4 in its IPv6 form as well."""
    assert (address in TRUSTED) is is_trusted
    assert address not in TrustedProxies()


@pytest.mark.parametrize(
    ("values", "chain"),
    [
        (["198.51.100.1"], "198.51.100.1, 10.0.0.9"),
        (["198.51.100.1, 10.0.0.1"], "198.51.100.1, 10.0.0.1, 10.0.0.9"),
        (["198.51.100.1", "10.0.0.1 ,\t10.0.0.2"], "198.51.100.1, 10.0.0.1, 10.0.0.2, 10.0.0.9"),
        (["6.6.6.6, 198.51.100.1"], "198.51.100.1, 10.0.0.9"),
        (["10.0.0.66, 198.51.100.1, 10.0.0.1"], "198.51.100.1, 10.0.0.1, 10.0.0.9"),
        (["10.0.0.1, 10.0.0.2"], "10.0.0.1, 10.0.0.2, 10.0.0.9"),
        (["198.51.100.1:40000"], "198.51.100.1, 10.0.0.9"),
        (["[2001:DB8::7]:40000"], "2001:db8::7, 10.0.0.9"),
        (["[2001:db8::7]"], "2001:db8::7, 10.0.0.9"),
        (["2001:db8::7"], "2001:db8::7, 10.0.0.9"),
        (["::ffff:198.51.100.1"], "198.51.100.1, 10.0.0.9"),
        (["198.51.100.1, unknown, 10.0.0.1"], "10.0.0.1, 10.0.0.9"),
        (["198.51.100.1,"], "10.0.0.9"),
        (["unknown"], "10.0.0.9"),
        (["<script>"], "10.0.0.9"),
        (["[198.51.100.1]"], "10.0.0.9"),
        (["[::1"], "10.0.0.9"),
        (["[::1]x"], "10.0.0.9"),
        (["198.51.100.1:x"], "10.0.0.9"),
        (["fe80::1%eth0"], "10.0.0.9"),
        (["1" * 1000], "10.0.0.9"),
        ([""], "10.0.0.9"),
        ([], "10.0.0.9"),
    ],
)
def test_the_client_is_the_last_that_is_not_trusted(values: list[str], chain: str) -> None:
    """What stands left of it was written by a stranger; what cannot be read ends the chain and is never passed on."""
    told = way(*(f"X-Forwarded-For: {value}" for value in values))
    sent = lines(told)
    assert sent["X-Forwarded-For"] == chain
    client, *others = chain.split(", ")
    assert (told.client_address, sent["X-Real-IP"]) == (client, client)
    node = f'"[{client}]"' if ":" in client else client
    assert sent["Forwarded"] == ", ".join(
        (f'for={node};proto=http;host="app.test"', *(f"for={other}" for other in others))
    )


def test_a_chain_has_an_end() -> None:
    """Nobody can make this proxy read addresses for ever."""
    sent = lines(way("X-Forwarded-For: " + ", ".join(["198.51.100.1"] + ["10.0.0.1"] * 500)))
    assert sent["X-Forwarded-For"].count("10.0.0.1") == MAX_HOPS


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([], ("http", "8080", "app.test", False)),
        (["X-Forwarded-Proto: https"], ("https", "443", "app.test", True)),
        (["X-Forwarded-Proto: HTTPS", "X-Forwarded-Port: 8443"], ("https", "8443", "app.test", True)),
        (["X-Forwarded-Proto: wss"], ("https", "443", "app.test", True)),
        (["X-Forwarded-Proto: ws"], ("http", "80", "app.test", True)),
        (["X-Forwarded-Proto: https", "X-Forwarded-Host: site.test:444"], ("https", "444", "site.test:444", True)),
        (["X-Forwarded-Proto: https", "X-Forwarded-Host: [::1]"], ("https", "443", "[::1]", True)),
        (["X-Forwarded-Port: 99"], ("http", "99", "app.test", False)),
        (["X-Forwarded-Proto: gopher"], ("http", "8080", "app.test", False)),
        (["X-Forwarded-Proto: https, http"], ("http", "8080", "app.test", False)),
        (["X-Forwarded-Proto: https", "X-Forwarded-Proto: https"], ("http", "8080", "app.test", False)),
        (["X_Forwarded_Proto: https"], ("http", "8080", "app.test", False)),
        (["X-Forwarded-Port: 65536"], ("http", "8080", "app.test", False)),
        (["X-Forwarded-Port: -1"], ("http", "8080", "app.test", False)),
        (["X-Forwarded-Host: a b"], ("http", "8080", "app.test", False)),
        (['X-Forwarded-Host: a"b'], ("http", "8080", "app.test", False)),
        (["X-Forwarded-Host: a", "X-Forwarded-Host: b"], ("http", "8080", "app.test", False)),
        (["Forwarded: for=6.6.6.6;proto=https"], ("http", "8080", "app.test", False)),
    ],
)
def test_scheme_port_and_host(fields: list[str], expected: tuple[str, str, str, bool]) -> None:
    """Kept when they are well-formed and said once; else what the worker saw itself. Forwarded agrees with them."""
    told = way(*fields)
    sent = lines(told)
    scheme, _, host, _ = expected
    shown = (sent["X-Forwarded-Proto"], sent["X-Forwarded-Port"], sent["X-Forwarded-Host"], told.scheme_is_told)
    assert shown == expected
    assert sent["Forwarded"] == f'for=10.0.0.9;proto={scheme};host="{host}"'
    assert told.is_https is (scheme == "https")


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("f0e1-2a", "f0e1-2a"),
        ("Root=1-67891233-abcdef012345678912345678", "Root=1-67891233-abcdef012345678912345678"),
        ("x" * 128, "x" * 128),
        ("x" * 129, ""),
        ("a b", ""),
        ("<b>", ""),
        ('"', ""),
        ("", ""),
    ],
)
def test_request_id(value: str, kept: str) -> None:
    """A sane token is kept; anything else gets an id of the worker's own."""
    assert way(f"X-Request-ID: {value}").request_id == kept.encode()
    assert lines(way(f"X-Request-ID: {value}"))["X-Request-ID"] == "id-1"


def test_what_counts_as_one_client() -> None:
    """IPv4 addresses one by one, IPv6 by the /64 within which a client picks addresses as it likes."""
    assert client_key("192.0.2.7") == client_key("::ffff:192.0.2.7") == "192.0.2.7"
    assert client_key("2001:db8::1") == client_key("2001:db8::ffff:1") != client_key("2001:db8:0:1::1")
    assert client_key("unknown") == "unknown"
    assert parse_address("10.0.0.1/8") is None
