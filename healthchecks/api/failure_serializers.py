"""How groups of failures are read."""

import datetime
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from aegis_site.kernel.api import StrictSerializer
from aegis_site.kernel.audit.api import AuditEntrySerializer
from aegis_site.kernel.audit.models import AuditEntry
from healthchecks.failures.models import FailureGroup
from hosts.models import Upstream
from hosts.revert import is_revertible
from upstream_tls.tls.meanings import meaning_of


class FailedUpstreamSerializer(serializers.ModelSerializer[Upstream]):
    """The upstream that failed."""

    class Meta:
        model = Upstream
        fields = ["id", "scheme", "address", "port"]
        read_only_fields = fields


class FailureHostSerializer(serializers.Serializer[Any]):
    """Its host."""

    id = serializers.UUIDField()
    name = serializers.CharField()


class FailureSerializer(serializers.ModelSerializer[FailureGroup]):
    """All failures of one upstream for one reason.

    `opened_at` is the first one since it was last resolved. `cause` and `fix` are in general words, empty where the
    code says it all. `state_by` is empty when Aegis itself resolved it.
    """

    host = FailureHostSerializer()
    upstream = FailedUpstreamSerializer()
    count = serializers.IntegerField()
    cause = serializers.SerializerMethodField()
    fix = serializers.SerializerMethodField()

    class Meta:
        model = FailureGroup
        fields = [
            "id",
            "host",
            "upstream",
            "code",
            "cause",
            "fix",
            "message",
            "count",
            "traffic_count",
            "check_count",
            "test_count",
            "first_seen",
            "last_seen",
            "last_source",
            "opened_at",
            "request_id",
            "state",
            "state_since",
            "state_by",
            "state_reason",
            "muted_until",
        ]
        read_only_fields = fields

    def get_cause(self, group: FailureGroup) -> str:
        meaning = meaning_of(group.code)
        return meaning.cause if meaning else ""

    def get_fix(self, group: FailureGroup) -> str:
        meaning = meaning_of(group.code)
        return meaning.fix if meaning else ""


class MuteRequestSerializer(StrictSerializer[Any]):
    """For how long nobody wants to hear of it."""

    until = serializers.DateTimeField(required=False, help_text="After now. A day from now where nothing is said.")

    def validate_until(self, until: datetime.datetime) -> datetime.datetime:
        if until <= timezone.now():
            raise serializers.ValidationError("In the future.", code="invalid")
        return until


class ChangeBeforeSerializer(AuditEntrySerializer):
    """An entry of the audit log; `revertible`: `POST /audit/{id}/revert` may undo it."""

    revertible = serializers.SerializerMethodField()

    class Meta(AuditEntrySerializer.Meta):
        fields = [*AuditEntrySerializer.Meta.fields, "revertible"]
        read_only_fields = fields

    def get_revertible(self, entry: AuditEntry) -> bool:
        return is_revertible(entry)


class FailureWithChangesSerializer(FailureSerializer):
    """With what was changed shortly before it opened, newest first; null for who may not read the audit log."""

    changes_before = serializers.SerializerMethodField()

    class Meta(FailureSerializer.Meta):
        fields = [*FailureSerializer.Meta.fields, "changes_before"]
        read_only_fields = fields

    @extend_schema_field(ChangeBeforeSerializer(many=True, allow_null=True))
    def get_changes_before(self, group: FailureGroup) -> list[dict[str, Any]] | None:
        entries = self.context["changes_before"]
        return None if entries is None else [dict(entry) for entry in ChangeBeforeSerializer(entries, many=True).data]
