"""What was made through `/api/v1` can be read, changed and deleted as the links of the OpenAPI document say."""

from typing import Any

import hypothesis
import pytest
from schemathesis.specs.openapi.checks import positive_data_acceptance

from aegis_site.api_document import api_document
from tests.aegis_site.api_conformance.conftest import Headers, World
from tests.support.api_cases import put_right
from tests.support.api_schema import EXAMPLES, IS_FUZZING, SETTINGS, schema_for

pytestmark = pytest.mark.timeout(0 if IS_FUZZING else 120)

schema = schema_for(stateful=True)


def test_links_lead_from_what_was_made() -> None:
    """To every operation on it, whoever added it."""
    paths = api_document()["paths"]
    for collection in ("hosts", "certificates"):
        expected = {
            operation["operationId"]
            for path, operations in paths.items()
            if path.startswith(f"/api/v1/{collection}/{{id}}")
            for operation in operations.values()
        }
        assert paths[f"/api/v1/{collection}"]["post"]["responses"]["201"]["links"].keys() == expected
        assert len(expected) >= 4


def test_sequences_of_requests(world: World, administrator: Headers) -> None:
    """Nothing that was made is missing before it is deleted, nothing is found after that, and every check passes."""

    class Sequence(schema.as_state_machine()):  # type: ignore[misc]
        """Each begins in the same world, so that the same requests get the same answers."""

        def setup(self) -> None:
            world.saved.put_back()
            self.made: set[str] = set()
            self.deleted: set[str] = set()
            self.number, self.is_right = 0, False

        def before_call(self, case: Any) -> None:
            self.number += 1
            self.is_right = put_right(case, number=self.number, has_id=named(case) in self.made)

        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"headers": administrator}

        def after_call(self, response: Any, case: Any) -> None:
            super().after_call(response, case)
            if named(case) in self.made - self.deleted:
                assert response.status_code != 404, case.as_curl_command()
            if response.status_code == 201:
                self.made.add(response.json()["id"])
            elif response.status_code == 204:
                self.deleted.add(named(case))
            if response.status_code < 300:
                reached.add(case.operation.definition.raw["operationId"])

        def validate_response(self, response: Any, case: Any, **options: Any) -> None:
            excluded = [] if self.is_right else [positive_data_acceptance]
            case.validate_response(
                response,
                excluded_checks=excluded,
                headers=administrator,
                transport_kwargs=options,
                recorder=self.recorder,
            )

    reached: set[str] = set()
    Sequence.run(settings=hypothesis.settings(SETTINGS, max_examples=EXAMPLES * 4, stateful_step_count=6))
    assert {"hosts_create", "certificates_create"} < reached


def named(case: Any) -> str:
    """The id in the path of a request."""
    return str((case.path_parameters or {}).get("id", ""))
