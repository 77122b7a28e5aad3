"""The documents that tests, proofs and set-ups answer with, described.

Laws of this module: nothing is computed here; the services make these documents, and a test compares them.
"""

from typing import Any

from rest_framework import serializers

from aegis_site.kernel.serializers import CertificateFactsSerializer
from hosts.enforcement import Outcome, Presented, Verdict


class WarningSerializer(serializers.Serializer[Any]):
    """What will go wrong although nothing is broken."""

    code = serializers.CharField()
    field = serializers.CharField()
    message = serializers.CharField()


class RejectedHostSerializer(serializers.Serializer[Any]):
    """A host whose configuration a worker cannot use."""

    host = serializers.CharField()
    reason = serializers.CharField()


class TestedUpstreamSerializer(serializers.Serializer[Any]):
    """Where a test went. `server_name` is the SNI; empty: none was sent."""

    id = serializers.UUIDField(allow_null=True)
    address = serializers.CharField()
    port = serializers.IntegerField()
    server_name = serializers.CharField(allow_blank=True)


class StagesSerializer(serializers.Serializer[Any]):
    """Milliseconds of each stage; null: not reached, or not finished."""

    dns_ms = serializers.IntegerField(allow_null=True)
    tcp_ms = serializers.IntegerField(allow_null=True)
    tls_ms = serializers.IntegerField(allow_null=True)
    first_byte_ms = serializers.IntegerField(allow_null=True)


class NegotiatedSerializer(serializers.Serializer[Any]):
    """What was negotiated."""

    version = serializers.CharField()
    cipher = serializers.CharField()
    alpn = serializers.CharField()
    client_certificate_requested = serializers.BooleanField()
    client_certificate_sent = serializers.BooleanField()
    acceptable_ca_names = serializers.ListField(child=serializers.CharField())


class AnsweredSerializer(serializers.Serializer[Any]):
    """What the upstream answered over HTTP."""

    status = serializers.IntegerField()


class PresentedCertificateSerializer(serializers.Serializer[Any]):
    """A certificate of the upstream's chain. A time is null when it cannot be read."""

    subject = serializers.CharField()
    issuer = serializers.CharField()
    serial_number = serializers.CharField()
    not_before = serializers.DateTimeField(allow_null=True)
    not_after = serializers.DateTimeField(allow_null=True)
    subject_alt_names = serializers.ListField(child=serializers.CharField())
    fingerprint_sha256 = serializers.CharField()
    key_type = serializers.CharField()
    is_ca = serializers.BooleanField()


class AlertSerializer(serializers.Serializer[Any]):
    """A TLS alert."""

    direction = serializers.ChoiceField(choices=["read", "write"])
    number = serializers.IntegerField()
    text = serializers.CharField()


class EvidenceSerializer(serializers.Serializer[Any]):
    """The numbers behind a diagnosis."""

    stage = serializers.CharField()
    verify_code = serializers.IntegerField(allow_null=True)
    depth = serializers.IntegerField(allow_null=True)
    alert = AlertSerializer(allow_null=True)
    errno = serializers.IntegerField(allow_null=True)
    http_status = serializers.IntegerField(allow_null=True)


class DiagnosisSerializer(serializers.Serializer[Any]):
    """Why a test failed, and what to do about it. `code` is stable (docs/upstream-mtls.md)."""

    code = serializers.CharField()
    message = serializers.CharField()
    cause = serializers.CharField()
    fix = serializers.CharField()
    field = serializers.CharField()
    confidence = serializers.CharField()
    evidence = EvidenceSerializer()


class ConnectionTestResultSerializer(serializers.Serializer[Any]):
    """What a test of the TLS handshake with one upstream found."""

    success = serializers.BooleanField()
    upstream = TestedUpstreamSerializer()
    tested_at = serializers.DateTimeField()
    duration_ms = serializers.IntegerField()
    timeout_s = serializers.FloatField()
    stages = StagesSerializer()
    tls = NegotiatedSerializer(allow_null=True)
    http = AnsweredSerializer(allow_null=True)
    chain = PresentedCertificateSerializer(many=True)
    verified = serializers.BooleanField()
    error = DiagnosisSerializer(allow_null=True)
    warnings = serializers.ListField(child=serializers.CharField())
    offered_anchor_pem = serializers.CharField()


class ConnectionTestResultsSerializer(serializers.Serializer[Any]):
    """What `all` asks for: failures first."""

    results = ConnectionTestResultSerializer(many=True)


class ProvenUpstreamSerializer(serializers.Serializer[Any]):
    """Which upstream was tried."""

    id = serializers.UUIDField()
    address = serializers.CharField()
    port = serializers.IntegerField()


class AttemptSerializer(serializers.Serializer[Any]):
    """One try. `code` and `message` are empty when the upstream answered `http_status`."""

    presented = serializers.ChoiceField(choices=[str(kind) for kind in Presented])
    outcome = serializers.ChoiceField(choices=[str(kind) for kind in Outcome])
    http_status = serializers.IntegerField(allow_null=True)
    code = serializers.CharField()
    message = serializers.CharField()


class EnforcementSerializer(serializers.Serializer[Any]):
    """Whether an upstream refuses strangers. `other_refused`: another certificate of the same CA; null: not known."""

    upstream = ProvenUpstreamSerializer()
    verdict = serializers.ChoiceField(choices=[str(kind) for kind in Verdict])
    explanation = serializers.CharField()
    other_refused = serializers.BooleanField(allow_null=True)
    attempts = AttemptSerializer(many=True)


class UpstreamFileSerializer(serializers.Serializer[Any]):
    """A file to install on the upstream. `text` is empty when Aegis does not have it; then `note` says who does."""

    file_name = serializers.CharField()
    title = serializers.CharField()
    text = serializers.CharField()
    note = serializers.CharField()


class SnippetSerializer(serializers.Serializer[Any]):
    """Configuration for one server."""

    server = serializers.CharField()
    title = serializers.CharField()
    file_name = serializers.CharField()
    text = serializers.CharField()
    pinned_by = serializers.CharField()


class UpstreamSetupSerializer(serializers.Serializer[Any]):
    """Files and snippets for the operators of a host's upstreams."""

    client_certificate_info = CertificateFactsSerializer()
    notes = serializers.ListField(child=serializers.CharField())
    files = UpstreamFileSerializer(many=True)
    snippets = SnippetSerializer(many=True)
