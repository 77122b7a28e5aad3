"""How gunicorn serves the admin and the API: `gunicorn -c python:aegis_site.gunicorn_config aegis_site.wsgi`."""

import os
from typing import Any

from aegis_site.environment import read_environment
from aegis_site.log_config import log_config
from aegis_site.tether import die_with

_ENVIRONMENT = read_environment()
# Its own messages are those of a server that starts and stops; one line a request belongs to a proxy, not to an admin.
_QUIET = {"level": "WARNING", "handlers": ["stderr"], "propagate": False}

bind = [str(_ENVIRONMENT.web_bind)]
# Who may say by X-Forwarded-Proto that a browser came over TLS: without that, Django would take its forms for those of
# another site.
forwarded_allow_ips = ",".join(("127.0.0.1", "::1", *_ENVIRONMENT.web_trusted_proxies))
# One process: the admin's load is small, its memory is not. Threads wait for the database and for connection tests, of
# which twenty at once leave enough of them for everybody else.
workers = 1
worker_class = "aegis_site.web_worker.WebWorker"
threads = 32
# Above the eight seconds within which a connection test answers.
timeout = 30
graceful_timeout = 5
# The worker's heartbeat file must not wait for a disk.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108 (unlinked by gunicorn at once)
# Its control socket would be one more way in, and nothing uses it.
control_socket_disable = True
logconfig_dict = {
    **log_config(level=_ENVIRONMENT.log_level, form=_ENVIRONMENT.log_format),
    "loggers": {"gunicorn.error": _QUIET, "gunicorn.access": _QUIET},
}


def post_fork(server: Any, worker: Any) -> None:
    """A worker ends with its arbiter, so that the port is free when the next one starts."""
    die_with(server.pid)
