"""Applies what a spec says about a host's traffic.

Laws of this module: all errors at once, under the API's paths (`timeouts.connect_s`, `request_headers[2].name`). Saves
nothing.
"""

import dataclasses

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError

from hosts.field_errors import FieldErrors
from hosts.header_rules import Direction, check_count, clean_header_rule
from hosts.specs import HeaderRuleSpec, HostSpec
from hosts.traffic_models import StoredRules, TrafficConfiguration
from proxyworker.snapshot import Deadlines, HostLimits, PassiveHealth, Retries
from upstream_tls.changes import Keep

# The parts of a spec, and the part of the snapshot in which their fields stand.
SECTIONS = {"timeouts": Deadlines, "passive_health": PassiveHealth, "retries": Retries, "limits": HostLimits}

SECTION_OF = {field.name: section for section, kind in SECTIONS.items() for field in dataclasses.fields(kind)}

_RULES = ("request_headers", "response_headers")


def apply_traffic(configuration: TrafficConfiguration, spec: HostSpec, errors: FieldErrors) -> None:
    """Assigns what `spec` names to `configuration`. With errors, the configuration must not be saved."""
    for section in SECTIONS:
        for name, value in getattr(spec, section).items():
            setattr(configuration, name, value)
    if not isinstance(spec.request_headers, Keep):
        configuration.request_headers = _clean_rules(spec.request_headers, Direction.REQUEST, errors)
    if not isinstance(spec.response_headers, Keep):
        configuration.response_headers = _clean_rules(spec.response_headers, Direction.RESPONSE, errors)
    try:
        # Validators and clean() have said it all; asking the database again would be a query for each constraint.
        configuration.full_clean(exclude={"host", *_RULES}, validate_unique=False, validate_constraints=False)
    except ValidationError as error:
        for name, problems in error.error_dict.items():
            with errors.under(f"{SECTION_OF[name]}.{name}" if name != NON_FIELD_ERRORS else ""):
                raise ValidationError(problems) from None


def _clean_rules(rules: tuple[HeaderRuleSpec, ...], direction: Direction, errors: FieldErrors) -> StoredRules:
    path = f"{direction}_headers"
    stored: StoredRules = []
    with errors.under(path):
        check_count(rules)
        for position, rule in enumerate(rules):
            with errors.under(f"{path}[{position}]"):
                stored.append(dataclasses.asdict(clean_header_rule(rule, direction)))
    return stored
