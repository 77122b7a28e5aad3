"""How the list of failures is filtered."""

from django.db.models import QuerySet
from django.utils import timezone
from django_filters import rest_framework as filters

from aegis_site.kernel.filters import BooleanFilter, ChoiceFilter, IdentifierFilter, MomentFilter, TextFilter
from healthchecks.failures.models import FailureGroup, FailureState, Source
from healthchecks.failures.selectors import met_by, muted


class FailureFilter(filters.FilterSet):
    """Groups that fit all of what is given."""

    host = IdentifierFilter(field_name="host_id", help_text="Id of the host.")
    upstream = IdentifierFilter(field_name="upstream_id", help_text="Id of the upstream.")
    code = TextFilter(help_text="A code of docs/diagnosis.md.")
    source = ChoiceFilter(choices=Source.choices, method="met_by", help_text="Where it was met at least once.")
    state = ChoiceFilter(choices=FailureState.choices)
    muted = BooleanFilter(method="is_muted", help_text="Whether it is muted now.")
    seen_after = MomentFilter(field_name="last_seen", lookup_expr="gte", help_text="Last seen at this time or later.")
    seen_before = MomentFilter(field_name="last_seen", lookup_expr="lt", help_text="Last seen before this time.")

    class Meta:
        model = FailureGroup
        fields: list[str] = []

    def met_by(self, queryset: QuerySet[FailureGroup], name: str, source: str) -> QuerySet[FailureGroup]:
        """Has a count there."""
        return queryset.filter(met_by(Source(source)))

    def is_muted(self, queryset: QuerySet[FailureGroup], name: str, wanted: bool) -> QuerySet[FailureGroup]:
        """At this moment."""
        found = muted(timezone.now())
        return queryset.filter(found if wanted else ~found)
