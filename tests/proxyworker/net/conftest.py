"""Fixtures of the tests without sockets."""

import pytest

from tests.proxyworker.net.memory import Dialler
from tests.proxyworker.net.proxy import MemoryProxy


@pytest.fixture
def dialler(monkeypatch: pytest.MonkeyPatch) -> Dialler:
    """Connections to upstreams are opened in memory."""
    dialler = Dialler()
    monkeypatch.setattr("proxyworker.net.upstream.connect", dialler)
    return dialler


@pytest.fixture
def proxy(dialler: Dialler) -> MemoryProxy:
    """A data plane with one host, `app.test`, and one http upstream."""
    return MemoryProxy(dialler)
