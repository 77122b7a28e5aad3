"""Upstreams are tried side by side, and every probe has an end."""

import dataclasses
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from hosts.models import Host
from hosts.rotation import probing
from tests.hosts.rotation.examples import OLD_CA, host_before, nginx_trusting


@pytest.mark.django_db
def test_what_does_not_end_has_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor has what fails by a mistake of ours; the others have theirs, in order."""
    with nginx_trusting(tmp_path, OLD_CA) as nginx:
        host_before(nginx)
        host = Host.objects.with_configuration().get()
        (good,) = probing.attempts_at(list(host.upstreams.all()), host=host, configuration=host.upstream_configuration)
        assert "PRIVATE" not in repr(good)
        stop, real, calls = threading.Event(), probing.probe, iter(range(3))

        def odd(*arguments: Any, **options: Any) -> Any:
            number = next(calls)
            if number == 0:
                stop.wait(30)
            if number == 1:
                raise ZeroDivisionError
            return real(*arguments, **options)

        monkeypatch.setattr(probing, "probe", odd)
        monkeypatch.setattr(probing, "_GRACE_S", 0.5)
        begun = time.monotonic()
        try:
            documents = probing.run([good, good, good], timeout_s=1)
        finally:
            stop.set()
    assert time.monotonic() - begun < 10
    assert [document and document["success"] for document in documents] == [None, None, True]


@pytest.mark.django_db
def test_more_can_be_tried_while_others_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results come as they end, also of those added meanwhile; whoever knows enough leaves, and waits for nobody."""
    with nginx_trusting(tmp_path, OLD_CA) as nginx:
        host_before(nginx)
        host = Host.objects.with_configuration().get()
        (good,) = probing.attempts_at(list(host.upstreams.all()), host=host, configuration=host.upstream_configuration)
        stop, real = threading.Event(), probing.probe
        hanging = probing.Attempt(spec=good.spec, target=dataclasses.replace(good.target, port=1))

        def odd(spec: Any, target: Any, **options: Any) -> Any:
            return stop.wait(30) if target.port == 1 else real(spec, target, **options)

        monkeypatch.setattr(probing, "probe", odd)
        begun, found = time.monotonic(), []
        try:
            with probing.Probes[str](timeout_s=5, at_once=3) as probes:
                probes.add("hanging", hanging)
                probes.add("first", good)
                for key, document in probes.results(within_s=20):
                    found.append((key, document is not None and document["success"]))
                    if key == "second":
                        break
                    probes.add("second", good)
        finally:
            stop.set()
    assert found == [("first", True), ("second", True)]
    assert time.monotonic() - begun < 10


def test_nothing_to_try() -> None:
    """No thread is started."""
    assert probing.run([], timeout_s=1) == []
