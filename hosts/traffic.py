"""Applies what a spec says about a host's traffic.

Laws of this module: all errors at once, under the API's paths (`timeouts.connect_s`, `request_headers[2].name`). Saves
nothing.
"""

import dataclasses
from collections.abc import Collection

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError

from aegis_site.kernel.keyring import SecretUnreadable
from hosts.field_errors import FieldErrors
from hosts.header_rules import Direction, check_count, clean_header_rule
from hosts.header_secrets import HeaderSecrets, RulesAsStored, names_of
from hosts.specs import HeaderRuleSpec, HostSpec
from hosts.traffic_models import StoredRules, TrafficConfiguration
from proxyworker.snapshot import Deadlines, HostLimits, PassiveHealth, Retries
from upstream_tls.changes import Keep

# The parts of a spec, and the part of the snapshot in which their fields stand.
SECTIONS = {"timeouts": Deadlines, "passive_health": PassiveHealth, "retries": Retries, "limits": HostLimits}

SECTION_OF = {field.name: section for section, kind in SECTIONS.items() for field in dataclasses.fields(kind)}

RULES = ("request_headers", "response_headers")

_NOT_VALIDATED = {"host", "header_secrets", *RULES}


def apply_traffic(configuration: TrafficConfiguration, spec: HostSpec, errors: FieldErrors) -> None:
    """Assigns what `spec` names to `configuration`. With errors, the configuration must not be saved."""
    for section in SECTIONS:
        for name, value in getattr(spec, section).items():
            setattr(configuration, name, value)
    _apply_rules(configuration, spec, errors)
    try:
        # Validators and clean() have said it all; asking the database again would be a query for each constraint.
        configuration.full_clean(exclude=_NOT_VALIDATED, validate_unique=False, validate_constraints=False)
    except ValidationError as error:
        for name, problems in error.error_dict.items():
            with errors.under(f"{SECTION_OF[name]}.{name}" if name != NON_FIELD_ERRORS else ""):
                raise ValidationError(problems) from None


def _apply_rules(configuration: TrafficConfiguration, spec: HostSpec, errors: FieldErrors) -> None:
    stored_names = names_of([*configuration.request_headers, *configuration.response_headers])
    secrets = HeaderSecrets(configuration.header_secrets, stored_names)
    for direction in Direction:
        rules: tuple[HeaderRuleSpec, ...] | Keep = getattr(spec, f"{direction}_headers")
        if not isinstance(rules, Keep):
            stored = getattr(configuration, f"{direction}_headers")
            setattr(configuration, f"{direction}_headers", _clean_rules(rules, direction, stored, secrets, errors))
    try:
        names = names_of([*configuration.request_headers, *configuration.response_headers])
        configuration.header_secrets = secrets.sealed_with(names)
    except SecretUnreadable:
        _refuse_kept(configuration, stored_names, errors)


def _clean_rules(
    rules: tuple[HeaderRuleSpec, ...],
    direction: Direction,
    stored: StoredRules,
    secrets: HeaderSecrets,
    errors: FieldErrors,
) -> StoredRules:
    path = f"{direction}_headers"
    as_stored = RulesAsStored(stored, rules)
    result: StoredRules = []
    with errors.under(path):
        check_count(rules)
        for position, rule in enumerate(rules):
            with errors.under(f"{path}[{position}]"):
                clean_header_rule(rule, direction)
            with errors.under(f"{path}[{position}]"):
                result.append(as_stored.stored(rule, secrets))
    return result


def _refuse_kept(configuration: TrafficConfiguration, kept: Collection[str], errors: FieldErrors) -> None:
    """An error at each value that would have to be kept, and does not open."""
    for path in RULES:
        for position, rule in enumerate(getattr(configuration, path)):
            if rule.get("secret") in kept:
                with errors.under(f"{path}[{position}].value"):
                    message = "The stored value cannot be opened with AEGIS_SSL_KEY: enter it again."
                    raise ValidationError(message, code="secret_unreadable")
