"""Prometheus's text form, version 0.0.4, for what there may be tens of thousands of samples of.

Laws of this module: text only, nothing is counted here. What it makes comes in slices of at most SLICE_SAMPLES samples,
so that others get their turn in between; prometheus_client would take a second for 10 000 hosts, in one piece.
"""

from collections.abc import Iterable, Iterator
from itertools import islice

SLICE_SAMPLES = 1000


def label_value(text: str) -> str:
    """The text as it stands between a label's quotation marks."""
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def family(name: str, kind: str, meaning: str, samples: Iterable[tuple[str, float]]) -> Iterator[bytes]:
    """One family. A sample is its labels, as they stand between the braces, and its value.

    `name` is that of the samples; a counter's ends with `_total`. Without any sample only the family's head comes.
    """
    text = f"# HELP {name} {meaning}\n# TYPE {name} {kind}\n"
    lines = (f"{name}{{{labels}}} {float(value)}\n" for labels, value in samples)
    while some := "".join(islice(lines, SLICE_SAMPLES)):
        yield (text + some).encode()
        text = ""
    if text:
        yield text.encode()
