"""The metrics of several workers as those of one.

Laws of this module:
- It reads what a worker's telemetry wrote, and nothing else: HELP and TYPE before the samples, one sample a line, no
  time stamps. A scrape of 10 000 hosts has some hundred thousand lines, so a line is cut at its last space and not
  parsed any further.
- Counters and histograms are added up and never fall: those of a worker that has ended, or does not answer just now,
  count as it last told them. A sum that fell would look to Prometheus as if all workers had been started again.
- Gauges are those of the workers that answer. Numbers of things are added up; of what should be the same everywhere,
  the worst is shown; what this module does not know gets a `worker` label, which is never wrong.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

# What one worker does not have, the whole does not have.
_WORST: dict[str, Callable[[float, float], float]] = {
    "aegis_configuration_generation": min,
    "aegis_hosts_accepted": min,
    "aegis_hosts_rejected": max,
    "aegis_health_feed_age_seconds": max,
    "aegis_health_feed_is_current": min,
    "aegis_upstream_active_health": min,
    "aegis_upstream_up": min,
    "aegis_worker_compiled": min,
}
_ADDED_SUFFIXES = ("_connections", "_connections_limit")
# Seconds since 1970: of certificates that expire, the first.
_EARLIEST_SUFFIXES = ("_not_after_seconds", "_timestamp_seconds")

Samples = dict[str, float]


@dataclass(slots=True)
class _Family:
    """The lines of one metric: `head` are its HELP and TYPE, `samples` its values by name and labels."""

    kind: str = ""
    head: list[str] = field(default_factory=list)
    samples: Samples = field(default_factory=dict)


class MergedMetrics:
    """Remembers what each run of a worker counted. A run is one process; a worker that is started again is another."""

    def __init__(self) -> None:
        self._heads: dict[str, _Family] = {}
        self._counted: dict[str, dict[str, Samples]] = {}
        self._ended: dict[str, Samples] = {}

    def merge(self, answers: Mapping[str, tuple[str, bytes]], *, living: Collection[str]) -> bytes:
        """One document. `answers` are worker and its metrics by run; runs that are not `living` will not come back."""
        merged = {name: _Family(family.kind, family.head) for name, family in self._heads.items()}
        for run, (worker, document) in answers.items():
            counted = self._counted[run] = {}
            for name, family in _families(document).items():
                self._heads.setdefault(name, _Family(family.kind, family.head))
                whole = merged.setdefault(name, _Family(family.kind, family.head))
                if family.kind == "gauge":
                    _merge_gauges(name, whole.samples, family.samples, worker)
                else:
                    counted[name] = family.samples
        for run in self._counted.keys() - living:
            _add_up(self._ended, self._counted.pop(run))
        for counts in (self._ended, *self._counted.values()):
            for name, samples in counts.items():
                _add(merged[name].samples, samples)
        return b"".join(_written(family) for family in merged.values())


def _families(document: bytes) -> dict[str, _Family]:
    families: dict[str, _Family] = {}
    family = _Family()
    for line in document.decode().split("\n"):
        if line.startswith("#"):
            _, word, name, *rest = line.split(" ", 3)
            family = families.setdefault(name, _Family())
            family.head.append(line)
            if word == "TYPE":
                family.kind = rest[0]
        elif line:
            key, _, value = line.rpartition(" ")
            family.samples[key] = float(value)
    return families


def _merge_gauges(name: str, whole: Samples, samples: Samples, worker: str) -> None:
    if name.endswith(_ADDED_SUFFIXES):
        _add(whole, samples)
    elif (choose := min if name.endswith(_EARLIEST_SUFFIXES) else _WORST.get(name)) is not None:
        for key, value in samples.items():
            whole[key] = choose(whole.get(key, value), value)
    else:
        whole.update({_labelled(key, worker): value for key, value in samples.items()})


def _labelled(key: str, worker: str) -> str:
    if key.endswith("}"):
        return f'{key[:-1]},worker="{worker}"}}'
    return f'{key}{{worker="{worker}"}}'


def _add_up(whole: dict[str, Samples], more: Mapping[str, Samples]) -> None:
    for name, samples in more.items():
        _add(whole.setdefault(name, {}), samples)


def _add(whole: Samples, samples: Samples) -> None:
    for key, value in samples.items():
        whole[key] = whole.get(key, 0.0) + value


def _written(family: _Family) -> bytes:
    lines = [*family.head, *(f"{key} {_number(value)}" for key, value in family.samples.items()), ""]
    return "\n".join(lines).encode()


def _number(value: float) -> str:
    """As Prometheus reads it: `inf` and `nan` are spelt as in Go."""
    return {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}.get(text := repr(value), text)
