"""The posture as CSV."""

import csv
import datetime

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from aegis_site.kernel.downloads import in_a_place
from hosts import posture_csv
from hosts.models import Host
from hosts.posture_csv import HEADER, MAX_AT_ONCE, TooManyReports, csv_lines, csv_response, safe
from hosts.specs import UpstreamSpec
from tests.hosts.examples import CA, LEAF, make_host, mtls

pytestmark = pytest.mark.django_db

UNTIL = datetime.datetime(2099, 1, 1, tzinfo=datetime.UTC)


def rows(*hosts: Host) -> list[dict[str, str]]:
    lines = list(csv_lines([host.pk for host in hosts], now=timezone.now()))
    assert all(line.endswith("\r\n") for line in lines)
    assert LEAF.key_pem.splitlines()[1] not in "".join(lines)
    return list(csv.DictReader(lines))


def test_one_line_for_each_upstream() -> None:
    """One for a host without any; every line has every column."""
    host = make_host(
        upstream_tls=mtls(
            ca_certificate=CA.pem, skip_verify=True, skip_verify_reason="renewal", skip_verify_until=UNTIL
        ),
        upstreams=(UpstreamSpec(address="10.0.0.7", port=9443), UpstreamSpec(address="::1", port=443)),
    )
    empty = make_host("empty", upstreams=())
    first, second, third = rows(host, empty)
    assert (first["host"], first["upstream"], second["upstream"]) == (
        "orders",
        "https://10.0.0.7:9443",
        "https://[::1]:443",
    )
    assert (first["identity_subject"], first["ca_subjects"]) == ("CN=orders client", "CN=Orders CA")
    assert (first["mtls"], first["skip_verify"], first["skip_verify_reason"]) == ("yes", "yes", "renewal")
    assert first["skip_verify_until"] == "2099-01-01T00:00:00Z"
    assert "skip_verify" in first["findings"]
    assert (third["host"], third["upstream"], third["mtls"], third["skip_verify"]) == ("empty", "", "no", "no")
    assert all(None not in row and None not in row.values() for row in (first, second, third))
    assert tuple(first) == HEADER


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("CN=orders", "CN=orders"),
        (-3, -3),
        (None, ""),
        (True, "yes"),
        (False, "no"),
    ],
)
def test_no_text_is_a_formula(value: object, cell: object) -> None:
    """An apostrophe goes in front of a text that begins like one; numbers stay numbers."""
    assert safe(value) == cell


def test_a_host_name_is_no_formula() -> None:
    """Nor is anything else that somebody typed."""
    (row,) = rows(make_host("=1+1", domains=("a.example.com",)))
    assert row["host"] == "'=1+1"


def test_batches(django_assert_num_queries: DjangoAssertNumQueries, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six queries each, and every host once; one that was deleted meanwhile is left out."""
    hosts = [make_host(f"host-{index}", upstream_tls=mtls()) for index in range(6)]
    monkeypatch.setattr(posture_csv, "BATCH", 3)
    with django_assert_num_queries(12):
        assert [row["host"] for row in rows(*hosts)] == [host.name for host in hosts]
    identifiers = [host.pk for host in hosts]
    hosts[0].delete()
    assert len(list(csv_lines(identifiers, now=timezone.now()))) == 6


def test_one_batch_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another report waits while one is worked out, and not while a client reads what there is of it."""
    monkeypatch.setattr(posture_csv, "BATCH", 1)
    host_ids = [make_host(name).pk for name in ("a", "b")]
    one, other = (csv_lines(host_ids, now=timezone.now()) for _ in range(2))
    held: list[bool] = []

    def seen(*arguments: object, **options: object) -> list[dict[str, object]]:
        held.append(posture_csv._one_at_a_time.locked())
        return []

    assert [next(one), next(one)]  # the header, and the first host: a client that reads no further
    assert len(list(other)) == 3
    monkeypatch.setattr(posture_csv, "postures", seen)
    assert list(one) == []
    assert (held, posture_csv._one_at_a_time.locked()) == ([True], False)


def test_no_more_than_a_few_at_once() -> None:
    """However one ends, read to its end or not at all, another may begin."""
    running = [in_a_place(posture_csv._places, iter(("a", "b"))) for _ in range(MAX_AT_ONCE)]
    for end in (list, lambda lines: lines.close()):
        with pytest.raises(TooManyReports, match="Try again in 10 seconds"):
            csv_response(Host.objects.all(), now=timezone.now())
        end(running.pop())
        running.append(in_a_place(posture_csv._places, iter(("a", "b"))))
    assert "".join(running.pop()) == "ab"
    for lines in running:
        lines.close()
    assert posture_csv._places._value == MAX_AT_ONCE
