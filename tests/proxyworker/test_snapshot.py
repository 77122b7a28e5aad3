"""The contract between the control plane and the worker."""

import hashlib
import json

import pytest

from proxyworker.snapshot import (
    SCHEMA_VERSION,
    Deadlines,
    DownstreamTLS,
    HeaderRule,
    HostEntry,
    HostLimits,
    LoadedEntry,
    PassiveHealth,
    Retries,
    SnapshotError,
    Upstream,
    UpstreamTLS,
    decode_entry,
    encode_entry,
    entry_digest,
)

ENTRY = HostEntry(
    host_id="h1",
    name="Bücher",
    domains=("a.test", "*.a.test"),
    preserve_host=True,
    websockets=False,
    access_log=False,
    load_balancing="ip_hash",
    upstreams=(
        Upstream(upstream_id="u1", scheme="https", address="::1", port=8443, weight=3),
        Upstream(upstream_id="u2", scheme="http", address="b.test", port=80, backup=True, drain=True),
    ),
    upstream_tls=UpstreamTLS(
        client_certificate="PEM",
        client_key_spki_sha256="00",
        skip_verify=True,
        skip_verify_until=1777636800.5,
        server_name="n",
        verify_name="spiffe://a/b",
        min_version="TLSv1.3",
        ciphers="x",
        alpn=("a", "b"),
        crl="PEM",
        pinned_spki_sha256=("00", "11"),
        verify_depth=2,
    ),
    downstream_tls=DownstreamTLS(certificate="PEM", key_spki_sha256="00", force_https=True, hsts_max_age_s=60),
    deadlines=Deadlines(connect_s=1.5, tunnel_lifetime_s=60),
    passive_health=PassiveHealth(max_failures=0),
    retries=Retries(max_attempts=1),
    limits=HostLimits(max_body_bytes=10),
    request_headers=(HeaderRule(action="set", name="X-A", value="a"),),
    response_headers=(HeaderRule(action="remove", name="Server"),),
)


def test_round_trip_is_lossless() -> None:
    """What is encoded comes back equal, the defaults too."""
    for entry in (ENTRY, HostEntry(host_id="h", name="n", domains=())):
        assert decode_entry(encode_entry(entry)) == entry


def test_encoding_is_canonical() -> None:
    """Sorted keys, no white space, ASCII, schema version inside; the digest is the sha256 of just that."""
    text = encode_entry(ENTRY)
    document = json.loads(text)
    assert document["schema_version"] == SCHEMA_VERSION
    assert text == json.dumps(document, sort_keys=True, separators=(",", ":"))
    assert text.isascii()
    assert entry_digest(text) == hashlib.sha256(text.encode()).hexdigest()


def test_other_schema_version_is_refused_by_name() -> None:
    """The reason says both versions."""
    document = {**json.loads(encode_entry(ENTRY)), "schema_version": 99}
    with pytest.raises(SnapshotError, match=f"entry has schema version 99, this worker knows {SCHEMA_VERSION}"):
        decode_entry(json.dumps(document))


@pytest.mark.parametrize(
    "change",
    [
        {"domains": None},
        {"upstreams": [{"nonsense": 1}]},
        {"upstreams": 3},
        {"unknown": 1},
        {"deadlines": {"x": 1}},
        {"upstream_tls": {}},
    ],
)
def test_malformed_entries_are_refused_without_their_content(change: dict[str, object]) -> None:
    """One error type, and no content in its text."""
    with pytest.raises(SnapshotError, match=r"^malformed entry: \w+$"):
        decode_entry(json.dumps({**json.loads(encode_entry(ENTRY)), **change}))


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "\xff"])
def test_what_is_no_entry_is_refused(text: str) -> None:
    """Anything but an entry's JSON gives the same error type."""
    with pytest.raises(SnapshotError):
        decode_entry(text)


def test_a_loaded_entry_does_not_show_its_key() -> None:
    """Neither the key nor what opens it is in the repr."""
    entry = LoadedEntry(host_id="h", generation=1, digest="d", entry_json="{}", open_client_key=lambda: b"secret")
    assert "open_client_key" not in repr(entry)
