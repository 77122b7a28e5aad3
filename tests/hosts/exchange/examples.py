"""Documents of the cast in tests.hosts.examples."""

from collections.abc import Sequence
from typing import Any

from aegis_site.kernel.audit.actor import Actor
from hosts.exchange.documents import export_document
from hosts.exchange.importing import ImportOptions, ImportResult, finish, import_hosts
from hosts.exchange.sealing import PassphraseSealer
from hosts.models import Host
from hosts.specs import HeaderRuleSpec
from tests.hosts.examples import make_host, mtls, site

PASSPHRASE = "correct horse battery staple"
TOKEN = "Bearer canary-of-a-header"


def make_secretive_host(name: str = "orders", **changes: Any) -> Host:
    """With every kind of secret."""
    rules = (
        HeaderRuleSpec(action="set", name="Authorization", value=TOKEN),
        HeaderRuleSpec(action="set", name="X-Team", value="orders"),
        HeaderRuleSpec(action="remove", name="Cookie"),
    )
    return make_host(name, **{"upstream_tls": mtls(), "downstream_tls": site(), "request_headers": rules, **changes})


def exported(*, sealer: PassphraseSealer | None = None) -> dict[str, Any]:
    """Everything, but for the time."""
    document = export_document(Host.objects.with_configuration(), sealer=sealer)
    del document["exported_at"]
    return document


def imported(
    entries: Sequence[dict[str, Any]],
    *,
    sealer: PassphraseSealer | None = None,
    user: Actor | None = None,
    **options: Any,
) -> ImportResult:
    """The result of an import that runs to its end."""
    return finish(import_hosts(entries, sealer=sealer, options=ImportOptions(**options), user=user))


def entry(name: str = "orders", **changes: Any) -> dict[str, Any]:
    """A host as somebody writes it by hand."""
    return {"name": name, "domains": [f"{name}.example.com"], "upstreams": [{"address": "10.0.0.7"}], **changes}
