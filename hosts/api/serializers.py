"""How hosts and workers are read and written.

Laws of this module: a serializer knows the shape of a document and nothing of what its values may be; that is decided
by the services, which the host editor uses as well. Keys and passphrases have write-only fields.
"""

import base64
from dataclasses import asdict
from functools import cached_property
from typing import Any

from cryptography import x509
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.reverse import reverse

from aegis_site.kernel.api import CertificateFactsSerializer, StrictSerializer
from aegis_site.kernel.serializers import Texts, facts_document
from aegis_site.kernel.text_formats import FORMATS
from hosts.api.results import RejectedHostSerializer, WarningSerializer
from hosts.api.traffic_serializers import (
    HeaderRuleSerializer,
    LimitsSerializer,
    PassiveHealthSerializer,
    RetriesSerializer,
    TimeoutsSerializer,
    traffic_of,
)
from hosts.downstream_lint import lint_downstream
from hosts.drafts import MAX_DOMAINS
from hosts.models import MAX_WEIGHT, DownstreamTLSConfiguration, Host, LoadBalancing, ProxyWorker, Scheme, Upstream
from hosts.sections import registered, values_of
from hosts.specs import DownstreamTLSChanges, HostSpec, UpstreamSpec
from hosts.validators import MAX_HSTS_AGE_S, MAX_TAG_CHARACTERS, MAX_TAGS, TAG_PATTERN
from upstream_tls.changes import UpstreamTLSChanges
from upstream_tls.models import TLSVersion, UpstreamTLSConfiguration, default_alpn
from upstream_tls.selectors import HostNames, host_names_by_key, local_authorities, warnings_of
from upstream_tls.validators import (
    MAX_CIPHERS_CHARACTERS,
    MAX_PINS,
    MAX_PROTOCOLS,
    MAX_REASON_CHARACTERS,
    MAX_URI_CHARACTERS,
    MAX_VERIFY_DEPTH,
)


class Text(serializers.CharField):
    """Any text, exactly as sent; what it may be is the services' business."""

    def __init__(self, *, document: dict[str, Any] | None = None, **options: Any) -> None:
        super().__init__(allow_blank=True, trim_whitespace=False, required=False, **options)
        # What the OpenAPI document says about it besides.
        self.document = document or {}


class Number(serializers.IntegerField):
    """Any whole number, likewise."""

    def __init__(self, *, document: dict[str, Any], **options: Any) -> None:
        super().__init__(required=False, **options)
        self.document = document


CERTIFICATES = {"format": "pem-certificates"}
PRIVATE_KEY = {"format": "pem-private-key"}
TAG = {"pattern": f"^{TAG_PATTERN}$", "maxLength": MAX_TAG_CHARACTERS}
TLS_VERSION = {"enum": TLSVersion.values}


@extend_schema_field(
    {
        "type": "array",
        "items": {"type": "string", "format": "domain-name", "description": FORMATS["domain-name"]},
        "minItems": 1,
        "maxItems": MAX_DOMAINS,
    }
)
class DomainNames(serializers.ListField):
    """The names of a host's domains, in order."""

    child = Text()

    def to_representation(self, data: Any) -> list[str]:
        return [domain.name for domain in data.all()]


class UpstreamSerializer(StrictSerializer[Upstream]):
    """One upstream. An `id` that is sent names the stored upstream which this one replaces."""

    demanded = ("address",)

    id = serializers.UUIDField(required=False)
    scheme = Text(document={"enum": Scheme.values})
    address = Text(document={"format": "host-or-ip", "maxLength": 253})
    port = Number(document={"minimum": 1, "maximum": 65535})
    enabled = serializers.BooleanField(required=False)
    weight = Number(document={"minimum": 1, "maximum": MAX_WEIGHT})
    backup = serializers.BooleanField(required=False)
    drain = serializers.BooleanField(required=False)


@extend_schema_field({"type": "string", "format": "byte"})
class Base64(serializers.Field[bytes, str, str, bytes]):
    """Bytes, written as base64; line breaks are allowed."""

    default_error_messages = {"invalid": "This is not base64."}

    def to_internal_value(self, data: Any) -> bytes:
        try:
            return base64.b64decode("".join(data.split()), validate=True)
        except (AttributeError, ValueError):
            self.fail("invalid")


class UpstreamTLSSerializer(StrictSerializer[UpstreamTLSConfiguration]):
    """TLS towards the upstreams of a host.

    `..._info` are the facts of the leaf, and of the first certificate of the bundle; `ca_certificates_info` has all of
    it. `client_pkcs12` is a PKCS#12 file that brings certificate and key. `skip_verify_until` ends `skip_verify` by
    itself; who switched it on, and when, is set by Aegis. `warnings` never stopped anybody from saving.
    """

    enabled = serializers.BooleanField(required=False)
    client_certificate = Text(document=CERTIFICATES)
    client_certificate_info = serializers.SerializerMethodField()
    client_key = Text(write_only=True, document=PRIVATE_KEY)
    client_pkcs12 = Base64(write_only=True, required=False)
    client_key_passphrase = Text(write_only=True)
    client_key_set = serializers.BooleanField(source="has_client_key", read_only=True)
    ca_certificate = Text(document=CERTIFICATES)
    ca_certificate_info = serializers.SerializerMethodField()
    ca_certificates_info = serializers.SerializerMethodField()
    skip_verify = serializers.BooleanField(required=False)
    skip_verify_reason = Text(document={"maxLength": MAX_REASON_CHARACTERS})
    skip_verify_until = serializers.DateTimeField(required=False, allow_null=True)
    skip_verify_by = serializers.CharField(read_only=True)
    skip_verify_since = serializers.DateTimeField(read_only=True, allow_null=True)
    server_name = Text(document={"format": "server-name", "maxLength": 253})
    verify_name = Text(document={"format": "verify-name", "maxLength": MAX_URI_CHARACTERS})
    min_version = Text(document=TLS_VERSION)
    max_version = Text(document=TLS_VERSION)
    ciphers = Text(document={"format": "openssl-ciphers", "maxLength": MAX_CIPHERS_CHARACTERS})
    alpn = Texts(child=Text(document={"format": "alpn-protocol"}), document={"maxItems": MAX_PROTOCOLS})
    crl = Text(document={"format": "pem-crls"})
    pinned_spki_sha256 = Texts(child=Text(document={"format": "spki-sha256"}), document={"maxItems": MAX_PINS})
    verify_depth = Number(allow_null=True, document={"minimum": 0, "maximum": MAX_VERIFY_DEPTH})
    warnings = serializers.SerializerMethodField()

    @extend_schema_field(CertificateFactsSerializer(allow_null=True))
    def get_client_certificate_info(self, configuration: UpstreamTLSConfiguration) -> dict[str, Any] | None:
        facts = configuration.client_certificate_facts
        return facts_document(facts[0]) if facts else None

    @extend_schema_field(CertificateFactsSerializer(allow_null=True))
    def get_ca_certificate_info(self, configuration: UpstreamTLSConfiguration) -> dict[str, Any] | None:
        facts = configuration.ca_certificate_facts
        return facts_document(facts[0]) if facts else None

    @extend_schema_field(CertificateFactsSerializer(many=True))
    def get_ca_certificates_info(self, configuration: UpstreamTLSConfiguration) -> list[dict[str, Any]]:
        return [facts_document(facts) for facts in configuration.ca_certificate_facts]

    @extend_schema_field(WarningSerializer(many=True))
    def get_warnings(self, configuration: UpstreamTLSConfiguration) -> list[dict[str, str]]:
        found = warnings_of(
            configuration,
            host_name=configuration.host.name,
            sharing=self._sharing,
            known=self._known,
            now=timezone.now(),
        )
        return [asdict(warning) for warning in found]

    @cached_property
    def _sharing(self) -> HostNames:
        """For all hosts that are shown together, so that a page of them costs one query."""
        hosts = self.root.instance if isinstance(self.root, serializers.ListSerializer) else [self.root.instance]
        configurations = [getattr(host, "upstream_tls", None) for host in hosts or ()]
        return host_names_by_key(configuration for configuration in configurations if configuration)

    @cached_property
    def _known(self) -> tuple[x509.Certificate, ...]:
        return local_authorities()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        encrypted = ("client_key", "client_pkcs12", "client_certificate")
        if attrs.get("client_key_passphrase") and not any(attrs.get(name) for name in encrypted):
            message = "A passphrase opens the client_key or client_pkcs12 that is sent with it, and is not stored."
            raise serializers.ValidationError({"client_key_passphrase": message}, code="without_key")
        return attrs


class DownstreamTLSSerializer(StrictSerializer[DownstreamTLSConfiguration]):
    """TLS towards the clients of a host.

    `issue` asks the local CA for a certificate of all domains of the host. `certificate_info` are the facts of the
    leaf; `warnings` never stopped anybody from saving.
    """

    certificate = Text(document=CERTIFICATES)
    certificate_info = serializers.SerializerMethodField()
    key = Text(write_only=True, document=PRIVATE_KEY)
    key_passphrase = Text(write_only=True)
    key_set = serializers.BooleanField(source="has_key", read_only=True)
    issue = serializers.BooleanField(write_only=True, required=False)
    force_https = serializers.BooleanField(required=False)
    hsts_max_age_s = Number(document={"minimum": 0, "maximum": MAX_HSTS_AGE_S})
    warnings = serializers.SerializerMethodField()

    @extend_schema_field(CertificateFactsSerializer(allow_null=True))
    def get_certificate_info(self, configuration: DownstreamTLSConfiguration) -> dict[str, Any] | None:
        facts = configuration.certificate_facts
        return facts_document(facts[0]) if facts else None

    @extend_schema_field(WarningSerializer(many=True))
    def get_warnings(self, configuration: DownstreamTLSConfiguration) -> list[dict[str, str]]:
        domains = [domain.name for domain in configuration.host.domains.all()]
        found = lint_downstream(configuration.chain, domains=domains, now=timezone.now())
        return [asdict(warning) for warning in found]


class HostSerializer(StrictSerializer[Host]):
    """A host with its upstreams, their TLS, TLS towards its clients, and how its traffic is carried."""

    demanded = ("name", "domains")

    id = serializers.UUIDField(read_only=True)
    url = serializers.SerializerMethodField()
    name = Text(document={"minLength": 1, "maxLength": 100})
    domains = DomainNames(required=False)
    tags = Texts(child=Text(document=TAG), document={"maxItems": MAX_TAGS})
    enabled = serializers.BooleanField(required=False)
    preserve_host = serializers.BooleanField(required=False)
    websockets = serializers.BooleanField(required=False)
    access_log = serializers.BooleanField(required=False)
    load_balancing = Text(document={"enum": LoadBalancing.values})
    upstreams = UpstreamSerializer(many=True, required=False)
    upstream_tls = UpstreamTLSSerializer(required=False)
    downstream_tls = DownstreamTLSSerializer(required=False, source="downstream_configuration")
    passive_health = PassiveHealthSerializer(required=False)
    retries = RetriesSerializer(required=False)
    limits = LimitsSerializer(required=False)
    timeouts = TimeoutsSerializer(required=False)
    request_headers = HeaderRuleSerializer(many=True, required=False)
    response_headers = HeaderRuleSerializer(many=True, required=False)
    created_at = serializers.DateTimeField(read_only=True)
    updated_at = serializers.DateTimeField(read_only=True)

    def get_fields(self) -> dict[str, Any]:
        """With the sections that other apps add."""
        return {**super().get_fields(), **{section.name: section.make_serializer() for section in registered()}}

    @extend_schema_field(OpenApiTypes.URI)
    def get_url(self, host: Host) -> str:
        return reverse("api-host-detail", args=[host.pk], request=self.context.get("request"))


class WorkerSerializer(serializers.ModelSerializer[ProxyWorker]):
    """A proxy worker as it last described itself. `is_current`: it has everything that is published.

    `health_feed_is_current`: it goes by the active checks; else they are old or there are none, and its traffic judges.
    """

    is_current = serializers.SerializerMethodField()
    rejected = serializers.SerializerMethodField()

    class Meta:
        model = ProxyWorker
        fields = [
            *("worker_id", "generation", "is_current", "accepted", "rejected"),
            *("health_feed_is_current", "version", "pid", "last_seen_at"),
        ]
        read_only_fields = fields

    def get_is_current(self, worker: ProxyWorker) -> bool:
        latest: int = self.context["latest_generation"]
        return worker.generation >= latest

    @extend_schema_field(RejectedHostSerializer(many=True))
    def get_rejected(self, worker: ProxyWorker) -> list[dict[str, str]]:
        return [{"host": host_id, "reason": reason} for host_id, reason in sorted(worker.rejected.items())]


def spec_of(document: dict[str, Any], *, is_whole: bool) -> HostSpec:
    """What a validated document asks for.

    In a whole document (POST, PUT) what is absent means the default, except for keys: absent keeps the stored one. In
    a part (PATCH) what is absent stays.
    """
    values = (_HOST_DEFAULTS if is_whole else {}) | document | traffic_of(document, is_whole=is_whole)
    tls = (_TLS_DEFAULTS if is_whole else {}) | document.get("upstream_tls", {})
    downstream = (_DOWNSTREAM_DEFAULTS if is_whole else {}) | values.pop("downstream_configuration", {})
    values["sections"] = values_of(document, is_whole=is_whole)
    for name in values["sections"]:
        values.pop(name, None)
    for name in ("domains", "tags"):
        if name in values:
            values[name] = tuple(values[name])
    for name in ("alpn", "pinned_spki_sha256"):
        if name in tls:
            tls[name] = tuple(tls[name])
    if "upstreams" in values:
        values["upstreams"] = tuple(_upstream_spec(upstream) for upstream in values["upstreams"])
    changes = {"upstream_tls": UpstreamTLSChanges(**tls), "downstream_tls": DownstreamTLSChanges(**downstream)}
    return HostSpec(**values | changes)


_HOST_DEFAULTS: dict[str, Any] = {
    "name": "",
    "domains": (),
    "tags": (),
    "enabled": True,
    "preserve_host": False,
    "websockets": True,
    "access_log": True,
    "load_balancing": LoadBalancing.ROUND_ROBIN.value,
    "upstreams": (),
}
_TLS_DEFAULTS: dict[str, Any] = {
    "enabled": False,
    "client_certificate": "",
    "ca_certificate": "",
    "skip_verify": False,
    "skip_verify_reason": "",
    "skip_verify_until": None,
    "server_name": "",
    "verify_name": "",
    "min_version": TLSVersion.TLS_1_2.value,
    "max_version": TLSVersion.TLS_1_3.value,
    "ciphers": "",
    "alpn": tuple(default_alpn()),
    "crl": "",
    "pinned_spki_sha256": (),
    "verify_depth": None,
}

_DOWNSTREAM_DEFAULTS: dict[str, Any] = {"certificate": "", "force_https": False, "hsts_max_age_s": 0}


def _upstream_spec(document: dict[str, Any]) -> UpstreamSpec:
    scheme = document.get("scheme", "https")
    return UpstreamSpec(
        upstream_id=document.get("id"),
        scheme=scheme,
        address=document.get("address", ""),
        port=document.get("port", 80 if scheme == "http" else 443),
        enabled=document.get("enabled", True),
        weight=document.get("weight", 1),
        backup=document.get("backup", False),
        drain=document.get("drain", False),
    )


class ConnectionTestRequestSerializer(StrictSerializer[Any]):
    """Which upstreams to test, and with which changes that are not saved; nothing means the first, as saved."""

    upstream = serializers.UUIDField(required=False)
    all = serializers.BooleanField(required=False)
    upstream_tls = UpstreamTLSSerializer(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "upstream" in attrs and attrs.get("all"):
            message = "Name one upstream or ask for all of them."
            raise serializers.ValidationError({"upstream": message}, code="upstream_and_all")
        return attrs
