"""How the list of issued certificates is filtered."""

from django.db.models import QuerySet
from django.utils import timezone
from django_filters import rest_framework as filters

from aegis_site.kernel.filters import ChoiceFilter, MomentFilter
from localca.models import IssuedCertificate, IssuedCertificateQuerySet, Purpose, Status


class CertificateFilter(filters.FilterSet):
    """Certificates that fit all of what is given."""

    purpose = ChoiceFilter(choices=Purpose.choices)
    status = ChoiceFilter(choices=Status.choices, method="having_status")
    expires_before = MomentFilter(field_name="not_after", lookup_expr="lt")

    class Meta:
        model = IssuedCertificate
        fields: list[str] = []

    def having_status(self, queryset: IssuedCertificateQuerySet, name: str, status: str) -> QuerySet[IssuedCertificate]:
        return queryset.with_status(status, now=timezone.now())
