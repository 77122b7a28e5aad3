"""The posture of all hosts as CSV: one line for each upstream, one for a host without any.

Laws of this module:
- Streamed: no more than BATCH hosts are in memory, each batch for a fixed number of queries.
- One batch at a time in a process, however many reports are on their way: other requests share the processor with one
  thread, not with all of them. Nobody waits for a client while holding it. How often one user may ask is up to the
  views (`aegis_site.kernel.throttling.count_report`).
- At most MAX_AT_ONCE downloads in a process, whoever asks: each has a thread until its client has read it.
- RFC 4180. Spreadsheets take a text that begins like a formula for one, and names in certificates come from strangers:
  such a text gets an apostrophe in front.
"""

import csv
import datetime
import io
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse

from aegis_site.kernel.downloads import in_a_place
from aegis_site.kernel.errors import AegisError
from hosts.models import Host
from hosts.posture import postures

BATCH = 50
FILE_NAME = "aegis-posture.csv"

# With twenty connection tests at once (`aegis_site.gunicorn_config`) that leaves threads for everybody else.
MAX_AT_ONCE = 8
# What a report of a few thousand hosts takes.
RETRY_AFTER_S = 10

_one_at_a_time = threading.Lock()
_places = threading.BoundedSemaphore(MAX_AT_ONCE)

# What spreadsheets read as the beginning of a formula, or skip to find one.
_DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n")

_CERTIFICATE = ("subject", "issuer", "serial_number", "fingerprint_sha256", "key_type", "not_after", "days_left")
_TEST = ("tested_at", "is_current", "success", "verified", "code", "tls_version", "cipher", "alpn", "http_status")
_LEAF = ("subject", "issuer", "fingerprint_sha256", "not_after", "days_left")
_EXCEPTION = ("by", "reason", "since", "until")

HEADER = (
    "host",
    "host_id",
    "enabled",
    "mtls",
    *(f"identity_{name}" for name in _CERTIFICATE),
    "verified_by",
    "ca_subjects",
    "ca_fingerprints_sha256",
    "ca_not_after",
    "pinned_keys",
    "min_version",
    "max_version",
    "upstream",
    "server_name",
    "verify_name",
    *(f"test_{name}" for name in _TEST),
    *(f"upstream_{name}" for name in _LEAF),
    *(f"downstream_{name}" for name in _LEAF),
    "skip_verify",
    *(f"skip_verify_{name}" for name in _EXCEPTION),
    "findings",
)


class TooManyReports(AegisError):
    """MAX_AT_ONCE are on their way; `wait_s` is how long to wait."""

    wait_s = RETRY_AFTER_S

    def __init__(self) -> None:
        super().__init__(
            "too_many_reports", f"Many reports are being downloaded. Try again in {RETRY_AFTER_S} seconds."
        )


def csv_response(hosts: QuerySet[Host], *, now: datetime.datetime) -> StreamingHttpResponse:
    """A download of these hosts' postures. Raises TooManyReports."""
    # Ids are few bytes each; the rows behind them are read in batches while the client reads.
    host_ids = list(dict.fromkeys(hosts.values_list("pk", flat=True)))
    lines = in_a_place(_places, csv_lines(host_ids, now=now))
    if lines is None:
        raise TooManyReports
    response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{FILE_NAME}"'
    response["Cache-Control"] = "no-store"
    return response


def csv_lines(host_ids: Sequence[uuid.UUID], *, now: datetime.datetime) -> Iterator[str]:
    """The header and the lines of these hosts, in order."""
    yield _line(HEADER)
    for start in range(0, len(host_ids), BATCH):
        with _one_at_a_time:
            lines = _lines_of(host_ids[start : start + BATCH], now)
        yield from lines


def _lines_of(host_ids: Sequence[uuid.UUID], now: datetime.datetime) -> list[str]:
    hosts = Host.objects.with_configuration().in_bulk(host_ids)
    return [
        _line(_row(document, upstream))
        for document in postures([hosts[host_id] for host_id in host_ids if host_id in hosts], now=now)
        for upstream in document["upstreams"] or [None]
    ]


def safe(value: object) -> object:
    """A value as a cell: nothing for None, and no text that a spreadsheet would calculate."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str) and value.startswith(_DANGEROUS):
        return f"'{value}"
    return "" if value is None else value


def _line(cells: Sequence[object]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow([safe(cell) for cell in cells])
    return text.getvalue()


def _row(document: Mapping[str, Any], upstream: Mapping[str, Any] | None) -> list[object]:
    verification, versions = document["verification"], document["versions"]
    authorities = verification["ca_certificates"]
    skipped = next((found for found in document["exceptions"] if found["kind"] == "skip_verify"), None)
    return [
        document["name"],
        document["id"],
        document["enabled"],
        document["mtls"]["enabled"],
        *_cells(document["mtls"]["identity"], _CERTIFICATE),
        verification["verified_by"],
        "; ".join(found["subject"] for found in authorities),
        "; ".join(found["fingerprint_sha256"] for found in authorities),
        min((found["not_after"] for found in authorities), default=""),
        "; ".join(verification["pinned_spki_sha256"]),
        versions["min_version"],
        versions["max_version"],
        *_upstream_cells(upstream),
        *_cells(document["downstream"]["certificate"], _LEAF),
        skipped is not None,
        *_cells(skipped, _EXCEPTION),
        "; ".join(finding["code"] for finding in document["findings"]),
    ]


def _upstream_cells(upstream: Mapping[str, Any] | None) -> list[object]:
    test = upstream["last_test"] if upstream else None
    address = f"[{upstream['address']}]" if upstream and ":" in upstream["address"] else (upstream or {}).get("address")
    return [
        f"{upstream['scheme']}://{address}:{upstream['port']}" if upstream else None,
        *_cells(upstream, ("server_name", "verify_name")),
        *_cells(test, _TEST),
        *_cells(test["leaf"] if test else None, _LEAF),
    ]


def _cells(values: Mapping[str, Any] | None, names: Sequence[str]) -> list[object]:
    return [values[name] if values else None for name in names]
