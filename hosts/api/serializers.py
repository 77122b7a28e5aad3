"""How hosts and workers are read and written.

Laws of this module: a serializer knows the shape of a document and nothing of what its values may be; that is decided
by the services, which the host editor uses as well. Keys and passphrases have write-only fields.
"""

from typing import Any

from rest_framework import serializers
from rest_framework.reverse import reverse

from aegis_site.kernel.api import CertificateFactsSerializer, StrictSerializer
from hosts.models import Host, ProxyWorker, Upstream
from hosts.specs import HostSpec, UpstreamSpec
from upstream_tls.changes import UpstreamTLSChanges
from upstream_tls.models import UpstreamTLSConfiguration


class Text(serializers.CharField):
    """Any text, exactly as sent; what it may be is the services' business."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_blank=True, trim_whitespace=False, required=False, **options)


class DomainNames(serializers.ListField):
    """The names of a host's domains, in order."""

    child = Text()

    def to_representation(self, data: Any) -> list[str]:
        return [domain.name for domain in data.all()]


class UpstreamSerializer(StrictSerializer[Upstream]):
    """One upstream. An `id` that is sent names the stored upstream which this one replaces."""

    id = serializers.UUIDField(required=False)
    scheme = Text()
    address = Text()
    port = serializers.IntegerField(required=False)
    enabled = serializers.BooleanField(required=False)


class UpstreamTLSSerializer(StrictSerializer[UpstreamTLSConfiguration]):
    """TLS towards the upstreams of a host. Facts are those of the leaf, and of the first certificate of the bundle."""

    enabled = serializers.BooleanField(required=False)
    client_certificate = Text()
    client_certificate_info = serializers.SerializerMethodField()
    client_key = Text(write_only=True)
    client_key_passphrase = Text(write_only=True)
    client_key_set = serializers.BooleanField(source="has_client_key", read_only=True)
    ca_certificate = Text()
    ca_certificate_info = serializers.SerializerMethodField()
    skip_verify = serializers.BooleanField(required=False)
    server_name = Text()

    def get_client_certificate_info(self, configuration: UpstreamTLSConfiguration) -> dict[str, Any] | None:
        facts = configuration.client_certificate_facts
        return dict(CertificateFactsSerializer(facts[0]).data) if facts else None

    def get_ca_certificate_info(self, configuration: UpstreamTLSConfiguration) -> dict[str, Any] | None:
        facts = configuration.ca_certificate_facts
        return dict(CertificateFactsSerializer(facts[0]).data) if facts else None

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs.get("client_key_passphrase") and not attrs.get("client_key"):
            message = "A passphrase opens the client_key that is sent with it, and is not stored."
            raise serializers.ValidationError({"client_key_passphrase": message}, code="without_key")
        return attrs


class HostSerializer(StrictSerializer[Host]):
    """A host with its upstreams and their TLS."""

    id = serializers.UUIDField(read_only=True)
    url = serializers.SerializerMethodField()
    name = Text()
    domains = DomainNames(required=False)
    enabled = serializers.BooleanField(required=False)
    preserve_host = serializers.BooleanField(required=False)
    upstreams = UpstreamSerializer(many=True, required=False)
    upstream_tls = UpstreamTLSSerializer(required=False)
    created_at = serializers.DateTimeField(read_only=True)
    updated_at = serializers.DateTimeField(read_only=True)

    def get_url(self, host: Host) -> str:
        return reverse("api-host-detail", args=[host.pk], request=self.context.get("request"))


class WorkerSerializer(serializers.ModelSerializer[ProxyWorker]):
    """A proxy worker as it last described itself. `is_current`: it has everything that is published."""

    is_current = serializers.SerializerMethodField()
    rejected = serializers.SerializerMethodField()

    class Meta:
        model = ProxyWorker
        fields = ["worker_id", "generation", "is_current", "accepted", "rejected", "version", "pid", "last_seen_at"]
        read_only_fields = fields

    def get_is_current(self, worker: ProxyWorker) -> bool:
        latest: int = self.context["latest_generation"]
        return worker.generation >= latest

    def get_rejected(self, worker: ProxyWorker) -> list[dict[str, str]]:
        return [{"host": host_id, "reason": reason} for host_id, reason in sorted(worker.rejected.items())]


def spec_of(document: dict[str, Any], *, is_whole: bool) -> HostSpec:
    """What a validated document asks for.

    In a whole document (POST, PUT) what is absent means the default, except for the client key: absent keeps the
    stored one. In a part (PATCH) what is absent stays.
    """
    values = (_HOST_DEFAULTS if is_whole else {}) | document
    tls = (_TLS_DEFAULTS if is_whole else {}) | document.get("upstream_tls", {})
    if "domains" in values:
        values["domains"] = tuple(values["domains"])
    if "upstreams" in values:
        values["upstreams"] = tuple(_upstream_spec(upstream) for upstream in values["upstreams"])
    return HostSpec(**values | {"upstream_tls": UpstreamTLSChanges(**tls)})


_HOST_DEFAULTS: dict[str, Any] = {
    "name": "",
    "domains": (),
    "enabled": True,
    "preserve_host": False,
    "upstreams": (),
}
_TLS_DEFAULTS: dict[str, Any] = {
    "enabled": False,
    "client_certificate": "",
    "ca_certificate": "",
    "skip_verify": False,
    "server_name": "",
}


def _upstream_spec(document: dict[str, Any]) -> UpstreamSpec:
    scheme = document.get("scheme", "https")
    return UpstreamSpec(
        upstream_id=document.get("id"),
        scheme=scheme,
        address=document.get("address", ""),
        port=document.get("port", 80 if scheme == "http" else 443),
        enabled=document.get("enabled", True),
    )
