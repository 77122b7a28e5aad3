"""The demo's zoo: upstreams that are broken in one way each, so that people can press Test Connection on them.

Run as `python -m aegis_site.demo_zoo DATA_DIRECTORY`; `demo_zoo_setup` has made the plan and the hosts before.

Laws of this module: no Django; the plan is all that the two processes share, and everything follows from it.
"""

import datetime
import json
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from upstream_tls.zoo.pki import PKI
from upstream_tls.zoo.running import run_zoo

_PLAN = Path("demo", "zoo.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class ZooPlan:
    """Where the members listen, and what their certificates follow from."""

    seed: bytes = field(repr=False)
    made_at: datetime.datetime
    ports: dict[str, int]

    @property
    def pki(self) -> PKI:
        """The certificates of this zoo; made anew at each call."""
        return PKI(self.seed, self.made_at)

    @classmethod
    def read(cls, data_dir: Path) -> Self | None:
        """The plan of a data directory; None when there is none, or none that can be read."""
        try:
            document = json.loads((data_dir / _PLAN).read_text(encoding="ascii"))
            return cls(
                seed=bytes.fromhex(document["seed"]),
                made_at=datetime.datetime.fromisoformat(document["made_at"]),
                ports={str(name): int(port) for name, port in document["ports"].items()},
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def write(self, data_dir: Path) -> None:
        """Keeps the plan for the next start. Raises OSError."""
        path = data_dir / _PLAN
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.touch(mode=0o600)
        document = {"seed": self.seed.hex(), "made_at": self.made_at.isoformat(), "ports": self.ports}
        path.write_text(json.dumps(document), encoding="ascii")


def main(data_directory: str) -> None:
    plan = ZooPlan.read(Path(data_directory))
    if plan is None:
        sys.exit("there is no zoo in this data directory; start with manage.py demo --zoo")
    try:
        with run_zoo(pki=plan.pki, ports=plan.ports):
            signal.sigwait((signal.SIGINT, signal.SIGTERM))
    except OSError as error:
        sys.exit(f"cannot run the zoo: {error}")


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    main(*sys.argv[1:])
