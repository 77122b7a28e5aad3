"""Runs the data plane: one worker, or a group of them. The only file of `proxyworker` that knows Django."""

import asyncio
import contextlib
import dataclasses
import logging
import os
import socket
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import uvloop
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from twisted.internet import asyncioreactor
from twisted.logger import STDLibLogObserver, globalLogBeginner

from aegis_site.environment import BindAddress
from aegis_site.kernel.keyring import KeyringError, get_keyring
from hosts.worker_feed import DatabaseFeed
from proxyworker import compiled

if TYPE_CHECKING:
    from proxyworker.service import ServiceSettings

log = logging.getLogger("aegis.proxy")

VERSION = "0.1.0"

Address = tuple[str, int]


class Command(BaseCommand):
    """`manage.py runproxy`: serves traffic until SIGTERM or SIGINT, then drains and ends."""

    help = "Run AEGIS_PROXY_PROCESSES proxy workers on AEGIS_PROXY_HTTP, AEGIS_PROXY_HTTPS and AEGIS_PROXY_METRICS."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--worker", type=int, default=0, help="be this worker of a group (used by the group)")
        parser.add_argument("--group", default="", help="where the workers of the group listen (used by the group)")

    def handle(self, *args: Any, worker: int, group: str, **options: Any) -> None:
        try:
            get_keyring()
        except KeyringError as error:
            raise CommandError(error.message) from error
        if not worker and settings.AEGIS_PROXY_PROCESSES > 1:
            from aegis_site.proxy_group import become  # noqa: PLC0415 (one worker alone is spared its memory)

            become()
        if not compiled.use():
            log.warning("the data plane runs uncompiled, at half the speed: make compile")
        loop = uvloop.new_event_loop()
        asyncio.set_event_loop(loop)
        asyncioreactor.install(loop)
        from twisted.internet import reactor as installed  # noqa: PLC0415, TID251 (exists from here on)

        # Parts of Twisted need a reactor.
        from proxyworker.net.descriptors import TooFewDescriptors  # noqa: PLC0415
        from proxyworker.service import ProxyService  # noqa: PLC0415

        reactor: Any = installed
        # Ports that open and close are told by the service, in its own words.
        logging.getLogger("twisted").setLevel(logging.WARNING)
        observer: Any = STDLibLogObserver("twisted")
        globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
        try:
            service = ProxyService(service_settings(worker, group), DatabaseFeed(), reactor=reactor, loop=loop)
        except TooFewDescriptors as error:
            raise CommandError(f"AEGIS_PROXY_MAX_CONNECTIONS: {error}") from error
        reactor.callWhenRunning(service.start)
        reactor.run()
        if service.has_failed:
            raise SystemExit(1)


def service_settings(worker: int = 0, group: str = "") -> "ServiceSettings":
    """Of worker number `worker` of the group whose directory is `group`, or of the only one for 0."""
    # Some of these need the reactor, and all of them to know whether they are compiled.
    from proxyworker.access_log.log import AccessLogSettings  # noqa: PLC0415
    from proxyworker.policy.limits import DownstreamLimits  # noqa: PLC0415
    from proxyworker.policy.trusted_proxies import TrustedProxies  # noqa: PLC0415
    from proxyworker.service import ServiceSettings  # noqa: PLC0415

    http = _binds(settings.AEGIS_PROXY_HTTP, "AEGIS_PROXY_HTTP")
    https = _binds(settings.AEGIS_PROXY_HTTPS, "AEGIS_PROXY_HTTPS")
    management = BindAddress.parse(settings.AEGIS_PROXY_METRICS, variable="AEGIS_PROXY_METRICS")
    alone = ServiceSettings(
        http=[bind.address for bind in http],
        https=[bind.address for bind in https],
        management=management.address,
        redis_url=settings.AEGIS_REDIS_URL,
        version=VERSION,
        # The port tells groups on one machine apart; unlike a process id it is the same after a restart.
        worker_id=f"{socket.gethostname()}:{management.port}",
        drain_delay_s=settings.AEGIS_PROXY_DRAIN_DELAY_S,
        proxy_protocol=frozenset(bind.address for bind in http + https if bind.proxy_protocol),
        trusted_proxies=TrustedProxies(settings.AEGIS_TRUSTED_PROXIES),
        limits=DownstreamLimits(**cast(dict[str, Any], settings.AEGIS_PROXY_LIMITS)),
        max_connections=settings.AEGIS_PROXY_MAX_CONNECTIONS,
        max_connections_per_client=settings.AEGIS_PROXY_MAX_CONNECTIONS_PER_CLIENT,
        access_log=AccessLogSettings(
            destination=settings.AEGIS_ACCESS_LOG,
            form="combined" if settings.AEGIS_ACCESS_LOG_FORMAT == "combined" else "json",
            max_bytes=settings.AEGIS_ACCESS_LOG_MAX_BYTES,
            backups=settings.AEGIS_ACCESS_LOG_BACKUPS,
        ),
    )
    return _in_group(alone, worker, Path(group)) if worker else alone


def _binds(texts: list[str], variable: str) -> list[BindAddress]:
    return [BindAddress.parse(text, variable=variable, is_traffic=True) for text in texts]


def _in_group(alone: "ServiceSettings", worker: int, directory: Path) -> "ServiceSettings":
    """As the group started it: with sockets that listen already and, behind them, what tells that it ends."""
    from aegis_site.supervisor import FIRST_DESCRIPTOR  # noqa: PLC0415 (one worker alone is spared its memory)
    from proxyworker.worker_group import management_path  # noqa: PLC0415

    sockets = {}
    for descriptor, address in enumerate([*alone.http, *alone.https], FIRST_DESCRIPTOR):
        os.set_inheritable(descriptor, False)
        sockets[address] = socket.socket(fileno=descriptor)
    return dataclasses.replace(
        alone,
        management=management_path(directory, worker),
        worker_id=f"{alone.worker_id}/{worker}",
        sockets=sockets,
        step_down=_step_down(FIRST_DESCRIPTOR + len(sockets)),
    )


def _step_down(descriptor: int) -> Callable[[], None]:
    """What tells the group to start this worker's successor."""
    os.set_inheritable(descriptor, False)

    def step_down() -> None:
        with contextlib.suppress(OSError):  # nobody listens: the group itself has ended
            os.write(descriptor, b"x")

    return step_down
