"""Whatever a client that may do some things sends to `/api/v1`, it gets what the served OpenAPI document says."""

from typing import Any

import pytest

from tests.aegis_site.api_conformance.conftest import Headers
from tests.support.api_cases import check
from tests.support.api_schema import IS_FUZZING, SETTINGS, schema_for

pytestmark = pytest.mark.timeout(0 if IS_FUZZING else 120)

schema = schema_for(stateful=False, coverage=IS_FUZZING)


@schema.parametrize()
@SETTINGS
def test_answers_to_a_viewer_are_as_documented(case: Any, viewer: Headers) -> None:
    """Whoever only reads: no 5xx, no undocumented status, no answer against its schema."""
    check(case, viewer)


@schema.parametrize()
@SETTINGS
def test_answers_to_an_operator_are_as_documented(case: Any, operator: Headers) -> None:
    """Whoever changes hosts: as above."""
    check(case, operator)
