"""Runs one worker of the data plane. The only file of `proxyworker` that knows Django."""

import asyncio
import logging
from typing import Any

import uvloop
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from twisted.internet import asyncioreactor
from twisted.logger import STDLibLogObserver, globalLogBeginner

from aegis_site.environment import BindAddress
from aegis_site.kernel.keyring import KeyringError, get_keyring
from hosts.worker_feed import DatabaseFeed

VERSION = "0.1.0"


class Command(BaseCommand):
    """`manage.py runproxy`: serves traffic until SIGTERM or SIGINT, then drains and ends."""

    help = "Run a proxy worker on AEGIS_PROXY_HTTP, AEGIS_PROXY_HTTPS and AEGIS_PROXY_METRICS."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            get_keyring()
        except KeyringError as error:
            raise CommandError(error.message) from error
        loop = uvloop.new_event_loop()
        asyncio.set_event_loop(loop)
        asyncioreactor.install(loop)
        from twisted.internet import reactor as installed  # noqa: PLC0415, TID251 (exists from here on)

        from proxyworker.service import ProxyService, ServiceSettings  # noqa: PLC0415 (parts of Twisted need a reactor)

        reactor: Any = installed
        # Ports that open and close are told by the service, in its own words.
        logging.getLogger("twisted").setLevel(logging.WARNING)
        observer: Any = STDLibLogObserver("twisted")
        globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
        service = ProxyService(
            ServiceSettings(
                http=_addresses(settings.AEGIS_PROXY_HTTP, "AEGIS_PROXY_HTTP"),
                https=_addresses(settings.AEGIS_PROXY_HTTPS, "AEGIS_PROXY_HTTPS"),
                management=_addresses([settings.AEGIS_PROXY_METRICS], "AEGIS_PROXY_METRICS")[0],
                redis_url=settings.AEGIS_REDIS_URL,
                version=VERSION,
            ),
            DatabaseFeed(),
            reactor=reactor,
            loop=loop,
        )
        reactor.callWhenRunning(service.start)
        reactor.run()
        if service.has_failed:
            raise SystemExit(1)


def _addresses(binds: list[str], variable: str) -> list[tuple[str, int]]:
    return [(bind.host, bind.port) for bind in (BindAddress.parse(text, variable=variable) for text in binds)]
