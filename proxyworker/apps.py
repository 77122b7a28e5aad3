"""Django's configuration of this package: it offers the command `runproxy` and has no models."""

from django.apps import AppConfig


class ProxyWorkerConfig(AppConfig):
    """The data plane."""

    name = "proxyworker"
    verbose_name = "Proxy worker"
