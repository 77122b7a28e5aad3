"""The served OpenAPI document, as schemathesis takes it.

`make fuzz` sets EXAMPLES, the number of random requests for each operation, role and kind of data, and may set SEED.
"""

import json
import os
from typing import Any

import hypothesis
import schemathesis
from drf_spectacular.renderers import OpenApiJsonRenderer2
from schemathesis.config import SchemathesisConfig

from aegis_site.api_document import api_document
from aegis_site.wsgi import application

IS_FUZZING = "EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("EXAMPLES", "3"))
SEED = int(os.environ.get("SEED", "5"))

# No generated ETag is the current one, and no generated Idempotency-Key is always new.
ACCEPTED = ["2xx", "304", "401", "403", "404", "409", "412", "422"]

# An ETag that is not the current one is told before the body is looked at (RFC 9110 section 13.2.1).
REFUSED = ["400", "401", "403", "404", "406", "409", "412", "415", "422", "429"]

CONFIG = {
    "seed": SEED,
    "generation": {"max-examples": EXAMPLES, "deterministic": True, "database": "none"},
    "checks": {
        "positive_data_acceptance": {"expected-statuses": ACCEPTED},
        "negative_data_rejection": {"expected-statuses": REFUSED},
    },
}

SETTINGS = hypothesis.settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),  # the fixture is one world for all requests of a test
)


def schema_for(**phases: bool) -> Any:
    """What `/api/v1/schema` serves (`test_api_document.py` compares), to be asked of the product's WSGI application."""
    config = {**CONFIG, "phases": {name: {"enabled": is_on} for name, is_on in phases.items()}}
    document = json.loads(OpenApiJsonRenderer2().render(api_document()))
    schema = schemathesis.openapi.from_dict(document, config=SchemathesisConfig.from_dict(config))
    schema.app = application
    return schema
