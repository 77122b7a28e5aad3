"""What a connection test is to try, as one secret.

Laws of this module: a job holds a private key, so it exists in memory or sealed and nowhere else.
"""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from aegis_site.kernel.fields import Sealed
from upstream_tls.tls.spec import UpstreamTLSSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The identity to present, what to demand of the upstream, and the Host field to send it."""

    spec: UpstreamTLSSpec
    host_field: str


def seal_job(job: Job) -> Sealed:
    """To be assigned to `ConnectionTest.job`."""
    # Bytes are PEM, which is ASCII; latin-1 takes whatever else somebody has pasted, and gives it back unchanged.
    spec = {
        name: value.decode("latin-1") if isinstance(value, bytes) else value for name, value in _values_of(job.spec)
    }
    return Sealed.of(json.dumps({"spec": spec, "host_field": job.host_field}))


def open_job(sealed: Sealed) -> Job:
    """The job again. Raises SecretUnreadable when the keyring does not open it."""
    document = json.loads(sealed.reveal())
    empty = UpstreamTLSSpec()
    values = {name: _as_in(getattr(empty, name), value) for name, value in document["spec"].items()}
    return Job(spec=UpstreamTLSSpec(**values), host_field=document["host_field"])


def _values_of(spec: UpstreamTLSSpec) -> list[tuple[str, object]]:
    return [(field.name, getattr(spec, field.name)) for field in dataclasses.fields(spec)]


def _as_in(default: object, value: Any) -> Any:
    """JSON knows neither bytes nor tuples: the default of the field tells which of them it had."""
    if isinstance(default, bytes) and isinstance(value, str):
        return value.encode("latin-1")
    return tuple(value) if isinstance(default, tuple) and isinstance(value, list) else value
