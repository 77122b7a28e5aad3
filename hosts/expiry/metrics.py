"""The timeline as Prometheus reads it (text form, version 0.0.4): one gauge, one sample for each thing that ends.

Laws of this module: labels are names that operators gave, fixed words and prefixes of fingerprints; never a subject,
which strangers choose. What a host uses twice in the same role is one sample.
"""

from collections.abc import Iterable

from hosts.expiry.expiring import Expiring
from hosts.models import Host

NAME = "aegis_expiry_not_after_seconds"
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# 64 bits: no two of a fleet's certificates are alike in them.
FINGERPRINT_CHARACTERS = 16


def gauge(timeline: Iterable[Expiring]) -> str:
    """The document. `host` is empty for what is the local CA's."""
    ends = {_labels(found): found.not_after.timestamp() for found in timeline}
    lines = [f"{NAME}{{{labels}}} {end}" for labels, end in ends.items()]
    return "\n".join(
        [
            f"# HELP {NAME} End of a certificate, or of a revocation list, in Unix time.",
            f"# TYPE {NAME} gauge",
            *lines,
            "",
        ]
    )


def _labels(found: Expiring) -> str:
    host = _label_value(found.owner) if found.model is Host else ""
    fingerprint = found.fingerprint_sha256[:FINGERPRINT_CHARACTERS]
    return f'host="{host}",role="{found.role}",fingerprint="{fingerprint}"'


def _label_value(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
