"""What a user has and has to have."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from aegis_site.access.second_factor import begin
from aegis_site.access.standing import Standing, standing_of
from aegis_site.kernel.site_settings.services import change_settings
from tests.support.roles import user_of
from tests.support.second_factors import enrolled

pytestmark = pytest.mark.django_db


def test_one_query_for_it(django_assert_num_queries: Any) -> None:
    """A factor that waits for its first code is none; without settings nothing is demanded."""
    viewer, operator = user_of("viewer"), user_of("operator")
    begin(user=viewer)
    assert standing_of(viewer) == Standing(has_factor=False, is_demanded=False)
    enrolled(viewer, now=timezone.now())
    change_settings(values={"second_factor_for": "operators"}, user=None)
    with django_assert_num_queries(1):
        assert standing_of(viewer) == Standing(has_factor=True, is_demanded=False)
    assert standing_of(operator) == Standing(has_factor=False, is_demanded=True)
    assert standing_of(User.objects.create_superuser("root")).is_demanded
