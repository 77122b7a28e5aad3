"""Traffic in the HTTP API: of one host, and of all together.

Laws of this module: the selectors make the numbers; serializers only describe them.
"""

import datetime
from dataclasses import asdict
from typing import Any

from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from aegis_site.kernel.api import ApiView
from aegis_site.kernel.serializers import QuerySerializer
from hosts.models import Host
from hosts.traffic_statistics.selectors import Point, Series, fleet_series, host_series
from hosts.traffic_statistics.windows import Window


class TrafficQuerySerializer(QuerySerializer):
    """How long a time, up to now."""

    window = serializers.ChoiceField(choices=Window.choices, default=Window.HOUR)


class TrafficPointSerializer(serializers.Serializer[Any]):
    """What was counted from `start` on in `length_s`. `error_rate` is the share of 5xx; null: nothing was asked.

    Quantiles are of requests that an upstream was asked for; null: none was.
    """

    start = serializers.DateTimeField()
    length_s = serializers.FloatField()
    requests = serializers.IntegerField()
    requests_per_s = serializers.FloatField()
    client_errors = serializers.IntegerField()
    server_errors = serializers.IntegerField()
    error_rate = serializers.FloatField(allow_null=True)
    p50_ms = serializers.FloatField(allow_null=True)
    p99_ms = serializers.FloatField(allow_null=True)
    upstream_failures = serializers.IntegerField()
    handshakes = serializers.IntegerField()
    handshake_failures = serializers.IntegerField()


class TrafficSerializer(serializers.Serializer[Any]):
    """A series, the oldest point first; the last one is the step that runs. `total` is all of them."""

    window = serializers.ChoiceField(choices=Window.choices)
    step_s = serializers.IntegerField()
    total = TrafficPointSerializer()
    points = TrafficPointSerializer(many=True)


class TrafficView(ApiView):
    """The traffic of all hosts together."""

    queryset = Host.objects.all()

    @extend_schema(parameters=[TrafficQuerySerializer], responses={200: TrafficSerializer})
    def get(self, request: Request) -> Response:
        """Requests, errors, durations and handshakes of all hosts, with requests that no host matched.

        Minutes of an hour, ten minutes of a day, hours of a week.
        """
        return Response(_document(fleet_series(_window(request), now_s=timezone.now().timestamp())))


class HostTrafficView(ApiView):
    """The traffic of one host."""

    queryset = Host.objects.all()

    @extend_schema(parameters=[TrafficQuerySerializer], responses={200: TrafficSerializer})
    def get(self, request: Request, pk: str) -> Response:
        """Requests, errors, durations and handshakes of one host.

        Minutes of an hour, ten minutes of a day, hours of a week.
        """
        host = get_object_or_404(Host.objects.only("pk"), pk=pk)
        return Response(_document(host_series(host.pk, _window(request), now_s=timezone.now().timestamp())))


def _window(request: Request) -> Window:
    return Window(TrafficQuerySerializer.values_of(request)["window"])


def _document(series: Series) -> dict[str, Any]:
    return {
        "window": series.window.value,
        "step_s": series.window.step_s,
        "total": _point(series.total),
        "points": [_point(point) for point in series.points],
    }


def _point(point: Point) -> dict[str, Any]:
    numbers = asdict(point)
    start = datetime.datetime.fromtimestamp(numbers.pop("start_s"), tz=datetime.UTC)
    error_rate = None if point.error_rate is None else round(point.error_rate, 6)
    numbers |= {"length_s": round(point.length_s, 3), "error_rate": error_rate}
    return {"start": start.isoformat().replace("+00:00", "Z"), **numbers}
