"""Whatever a client that may do everything sends to `/api/v1`, it gets what the served OpenAPI document says."""

from collections import Counter
from typing import Any

import pytest

from tests.aegis_site.api_conformance.conftest import Headers
from tests.support.api_cases import check
from tests.support.api_schema import IS_FUZZING, SETTINGS, schema_for

pytestmark = pytest.mark.timeout(0 if IS_FUZZING else 120)

# The coverage phase takes every bound and type of the document in turn. It costs most of the time, and what it
# finds does not depend on who asks, once somebody may do everything.
schema = schema_for(stateful=False)


@schema.parametrize()
@SETTINGS
def test_answers_are_as_documented(case: Any, administrator: Headers) -> None:
    """No 5xx, no undocumented status, no answer against its schema; bad data is refused, good data is not."""
    if is_taken(case):
        check(case, administrator)


def is_taken(case: Any) -> bool:
    """Of the coverage phase, which has some 650 cases for a host alone, the first 15 and then every fortieth.

    `make fuzz` takes them all.
    """
    if IS_FUZZING or case.meta is None or case.meta.phase.name.value != "coverage":
        return True
    seen = _seen[case.operation.label] = _seen[case.operation.label] + 1
    return seen <= 15 or seen % 40 == 0


_seen: Counter[str] = Counter()
