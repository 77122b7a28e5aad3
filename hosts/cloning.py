"""A new host like another one.

Laws of this module:
- The copy goes the way of every new host: checked as a whole, published, and in the audit log. It is disabled, for
  nobody has looked at it yet.
- Domains belong to one host, and so does the certificate that clients are shown for them: neither is copied.
- A secret is copied only when the user says so, in memory from seal to seal: the copy's ciphertext is its own.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django.db import transaction
from django.utils import timezone

from aegis_site.kernel.audit.actor import Actor
from hosts.api.serializers import HostSerializer, spec_of
from hosts.exchange.documents import HostDocuments, Secret, left_out
from hosts.models import Host
from hosts.services import create_host
from hosts.specs import HostSpec
from hosts.traffic import RULES

MAX_NAME_CHARACTERS = 100
_TRIED_NAMES = 100


def free_name(host: Host) -> str:
    """A name for a copy that no host has now. One query."""
    taken = set(Host.objects.filter(name__startswith="Copy ").values_list("name", flat=True))
    names = (
        f"Copy {number} of {host.name}" if number > 1 else f"Copy of {host.name}" for number in range(1, _TRIED_NAMES)
    )
    return next((name for name in names if name not in taken), "")[:MAX_NAME_CHARACTERS]


def has_secrets(host: Host) -> bool:
    """Whether there is something that a copy without secrets goes without. No query `with_configuration`."""
    return host.upstream_configuration.has_client_key or bool(host.traffic_configuration.header_secrets)


@transaction.atomic
def clone_host(*, host: Host, name: str, domains: Sequence[str], with_secrets: bool, user: Actor | None) -> Host:
    """A disabled copy of a host that was read `with_configuration`.

    Without secrets it presents no certificate, and has no header rules whose values are secret. Raises ValidationError
    by field, SecretUnreadable.
    """
    return create_host(spec=_spec(host, name=name, domains=domains, with_secrets=with_secrets), user=user)


def _spec(host: Host, *, name: str, domains: Sequence[str], with_secrets: bool) -> HostSpec:
    document = HostDocuments().document_of(host, _opened if with_secrets else left_out)
    for upstream in document["upstreams"]:
        del upstream["id"]
    tls = document["upstream_tls"]
    tls.pop("client_key_set", None)
    if not with_secrets:
        tls |= {"enabled": False, "client_certificate": ""}
        for direction in RULES:
            document[direction] = [rule for rule in document[direction] if not rule.get("value_set")]
    if not host.upstream_configuration.is_verification_skipped(timezone.now()):
        tls |= {"skip_verify": False, "skip_verify_reason": "", "skip_verify_until": None}
    document |= {"name": name, "enabled": False, "downstream_tls": {}}
    # Checked by the service, which names the field that a person has filled in.
    document["domains"] = []
    spec = spec_of(HostSerializer().run_validation(document), is_whole=True)
    return replace(spec, domains=tuple(domains))


def _opened(secret: Secret) -> dict[str, Any]:
    sensitive = {"sensitive": True} if secret.name == "value" else {}
    return {secret.name: secret.reveal(), **sensitive}
