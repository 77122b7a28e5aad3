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
    """To every operation on it, whoever added it; what is made below a host keeps that host."""
    paths = api_document()["paths"]
    for collection in ("hosts", "certificates"):
        expected = {
            operation["operationId"]
            for path, operations in paths.items()
            if path.startswith(f"/api/v1/{collection}/{{id}}") and path.count("{") == 1
            for operation in operations.values()
        }
        assert paths[f"/api/v1/{collection}"]["post"]["responses"]["201"]["links"].keys() == expected
        assert len(expected) >= 4
    links = paths["/api/v1/hosts/{id}/certificate-requests"]["post"]["responses"]["201"]["links"]
    assert {name.removeprefix("hosts_certificate_requests_") for name in links} == {
        "retrieve",
        "destroy",
        "certificate",
    }
    assert {tuple(link["parameters"].items()) for link in links.values()} == {
        (("id", "$request.path.id"), ("request_id", "$response.body#/id"))
    }


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
            self.is_right = put_right(case, number=self.number, has_id=is_made(case, self.made))
            # 404 is also the answer to a page past the end.
            case.query = {name: value for name, value in (case.query or {}).items() if name != "page"}

        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"headers": administrator}

        def after_call(self, response: Any, case: Any) -> None:
            super().after_call(response, case)
            if is_made(case, self.made - self.deleted):
                assert response.status_code != 404, case.as_curl_command()
            if response.status_code == 201:
                self.made.add(response.json()["id"])
            elif is_end(response, case):
                self.deleted.add(path_ids(case)[-1])
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
    Sequence.run(settings=hypothesis.settings(SETTINGS, max_examples=EXAMPLES * 10, stateful_step_count=6))
    assert reached & {"hosts_create", "hosts_clone"}  # each makes one
    assert reached & {"certificates_create", "certificates_renew"}


def is_end(response: Any, case: Any) -> bool:
    """Whether the last thing in the path is gone: deleted, or a request whose certificate was installed."""
    is_installed = response.status_code == 200 and case.operation.label.endswith("/certificate")
    return is_installed or response.status_code == 204


def path_ids(case: Any) -> list[str]:
    """The ids in the path of a request, in its order."""
    values = case.path_parameters or {}
    return [str(values[name]) for name in ("id", "request_id") if name in values]


def is_made(case: Any, made: set[str]) -> bool:
    """Whether everything that the path of a request names is one of these."""
    ids = path_ids(case)
    return bool(ids) and made.issuperset(ids)
