"""From documents to specs."""

import dataclasses
import uuid

from hosts.api.serializers import HostSerializer, UpstreamTLSSerializer, spec_of
from hosts.sections import registered
from hosts.specs import HostSpec, UpstreamSpec
from upstream_tls.changes import KEEP, UpstreamTLSChanges


def names_of(kind: type) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


def test_every_part_of_a_spec_can_be_written() -> None:
    """A field that the services know and the API does not would be forgotten here: this fails first."""
    assert names_of(HostSpec) - {"sections"} <= set(HostSerializer().fields)
    assert {section.name for section in registered()} <= set(HostSerializer().fields)
    assert names_of(UpstreamTLSChanges) <= set(UpstreamTLSSerializer().fields)


def test_a_whole_document_keeps_nothing_but_the_key() -> None:
    """An empty PUT sets every part to its default, except the client key, however it is sent."""
    spec = spec_of({}, is_whole=True)
    kept = {name for name in names_of(HostSpec) if getattr(spec, name) is KEEP}
    kept_of_tls = {name for name in names_of(UpstreamTLSChanges) if getattr(spec.upstream_tls, name) is KEEP}
    assert (kept, kept_of_tls) == (set(), {"client_key", "client_pkcs12"})


def test_a_part_keeps_everything() -> None:
    """An empty PATCH changes nothing."""
    assert spec_of({}, is_whole=False) == HostSpec()


def test_upstreams() -> None:
    """Ports follow the scheme; an id is passed on."""
    identifier = uuid.UUID(int=1)
    upstreams = [{"scheme": "http", "address": "a"}, {"id": identifier, "address": "b", "enabled": False}]
    assert spec_of({"upstreams": upstreams}, is_whole=False).upstreams == (
        UpstreamSpec(scheme="http", address="a", port=80),
        UpstreamSpec(upstream_id=identifier, scheme="https", address="b", port=443, enabled=False),
    )


def test_the_key_shows_in_no_repr() -> None:
    """A spec in a traceback shows no secret."""
    tls = {"client_key": "canary-key", "client_key_passphrase": "canary-passphrase"}
    assert "canary" not in repr(spec_of({"upstream_tls": tls}, is_whole=True))
