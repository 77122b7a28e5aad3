"""The audit log in the HTTP API: to be read and filtered."""

from typing import Any

from django.db.models import QuerySet
from django_filters.rest_framework import FilterSet
from drf_spectacular.utils import extend_schema, extend_schema_field, extend_schema_view
from rest_framework import mixins, serializers

from aegis_site.kernel.api import ApiViewSet
from aegis_site.kernel.audit.models import AuditEntry, Origin
from aegis_site.kernel.filters import ChoiceFilter, Filters, MomentFilter, Ordering, Search, TextFilter


@extend_schema_field({"description": "Any JSON value; null: not there.", "nullable": True})
class AnyValue(serializers.JSONField):
    """A value as it was recorded."""


class ChangeSerializer(serializers.Serializer[Any]):
    """One field before and after. A value that may be a credential is masked; another mask is another value."""

    field = serializers.CharField(help_text="Its path, such as `upstreams[0].address`.")
    before = AnyValue(allow_null=True)
    after = AnyValue(allow_null=True)


class AuditEntrySerializer(serializers.ModelSerializer[AuditEntry]):
    """One change of one thing by somebody."""

    user = serializers.CharField(source="user_name", help_text="Empty: nobody was signed in.")
    changes = ChangeSerializer(many=True)

    class Meta:
        model = AuditEntry
        fields = [
            "id",
            "at",
            "user",
            "origin",
            "client_address",
            "action",
            "target_type",
            "target_id",
            "target_name",
            "changes",
        ]
        read_only_fields = fields


class AuditFilter(FilterSet):
    """What `GET /audit` may be narrowed to."""

    user = TextFilter(field_name="user_name", help_text="Name of the user.")
    action = TextFilter(help_text="Such as created, changed, deleted, issued.")
    target_type = TextFilter(help_text="Such as host or user.")
    target_id = TextFilter(help_text="Id of what was changed.")
    origin = ChoiceFilter(choices=Origin.choices)
    at_after = MomentFilter(field_name="at", lookup_expr="gte", help_text="At this time or later.")
    at_before = MomentFilter(field_name="at", lookup_expr="lt", help_text="Before this time.")

    class Meta:
        model = AuditEntry
        fields: list[str] = []


@extend_schema_view(
    list=extend_schema(
        description="Who changed what, newest first. Entries are made by Aegis; there is no other method."
    ),
    retrieve=extend_schema(description="One change, before and after."),
)
class AuditViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, ApiViewSet):
    """The audit log. Entries are made by Aegis; nobody changes or deletes them."""

    serializer_class = AuditEntrySerializer
    queryset: QuerySet[AuditEntry] = AuditEntry.objects.all()
    # At most what the database can hold as an id.
    lookup_value_regex = "[0-9]{1,18}"
    filter_backends = [Filters, Search, Ordering]
    filterset_class = AuditFilter
    search_fields = ["target_name", "target_id", "user_name"]
    ordering_fields = ["at", "user_name", "action", "target_type", "target_name"]
    ordering = ["-at", "-id"]
