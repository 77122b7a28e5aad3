"""Generated requests for the API, put right as far as JSON Schema has no words for what is right.

Laws of this module: only valid values are replaced, by valid ones, so that what was meant to be wrong with a request
stays wrong; of four requests one is left as it was generated, and only of that one the product may say that its values
do not go together.
"""

import itertools
import re
from collections.abc import Callable
from typing import Any

from schemathesis.specs.openapi.checks import positive_data_acceptance

from aegis_site.kernel.idempotency.services import KEY_PATTERN
from tests.support import api_examples as examples
from tests.support import valid_documents as valid
from tests.support import valid_notifications as valid_notification

# By operation: what makes its body valid. An operation that is not here takes whatever its part of the document admits.
BODIES: dict[str, Callable[[valid.Body, int], None]] = {
    "hosts_create": valid.make_host_valid,
    "hosts_update": valid.make_host_valid,
    "hosts_partial_update": valid.make_host_valid,
    "hosts_clone": valid.make_host_valid,
    "hosts_import": valid.make_import_valid,
    "hosts_test_upstream_tls": valid.make_test_valid,
    "hosts_prove_enforcement": lambda body, number: None,
    "hosts_issue_certificate": valid.make_choices_valid,
    "hosts_certificate_requests_create": valid.make_wish_valid,
    "hosts_certificate_requests_certificate": lambda body, number: None,
    "what_if": valid.make_what_if_valid,
    "ca_intermediate": valid.make_authority_valid,
    "ca_root": valid.make_authority_valid,
    "ca_import": valid.make_authority_import_valid,
    "ca_authorities_partial_update": valid.make_authority_valid,
    "ca_authorities_restore_key": valid.make_authority_key_valid,
    "ca_authorities_give_crl": lambda body, number: None,
    "hosts_rotations_create": valid.make_rotation_valid,
    "rotations_promote": valid.make_override_valid,
    "certificates_create": valid.make_order_valid,
    "certificates_renew": valid.make_renewal_valid,
    "notification_channels_create": valid_notification.make_channel_valid,
    "notification_channels_partial_update": lambda body, number: None,
    "maintenance_windows_create": valid_notification.make_window_valid,
    "maintenance_windows_partial_update": valid_notification.make_window_change_valid,
    "audit_revert": valid.make_revert_valid,
    "hosts_revert": valid.make_host_revert_valid,
    "failures_mute_create": valid.make_mute_valid,
    "settings_partial_update": valid.make_settings_valid,
    "settings_test_email": valid.make_test_mail_valid,
}

# Those whose body has to fit what the path names, and what makes it fit, by the ids and the number of the request.
OF_THE_PATH: dict[str, Callable[[valid.Body, valid.Body, int], None]] = {
    "hosts_certificate_requests_certificate": valid.sign,
    "ca_authorities_give_crl": valid.make_given_list_valid,
    "hosts_test_upstream_tls": valid.name_upstream,
    "hosts_prove_enforcement": valid.name_upstream,
    "notification_channels_partial_update": valid_notification.make_channel_change_valid,
}

_UUID = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_NUMBER = "[0-9]{1,18}"

# By collection: how its ids look, and one that is known.
KNOWN: dict[str, tuple[str, Callable[[], object]]] = {
    "hosts": (_UUID, lambda: valid.first_host().pk),
    "ca": (_UUID, examples.authority_id),
    "certificates": (_UUID, examples.new_certificate_id),
    "failures": (_NUMBER, examples.failure_id),
    "rotations": (_UUID, examples.rotation_id),
    "audit": (_NUMBER, examples.changed_host_entry_id),
    "notification-channels": (_UUID, examples.channel_id),
    "notification-deliveries": (_UUID, examples.failed_delivery_id),
    "maintenance-windows": (_UUID, examples.window_id),
}

_numbers = itertools.count(1)


def check(case: Any, headers: dict[str, str]) -> None:
    """Send it, and have the answer pass every check."""
    is_right = put_right(case, number=next(_numbers))
    case.call_and_validate(headers=headers, excluded_checks=[] if is_right else [positive_data_acceptance])


def put_right(case: Any, *, number: int, has_id: bool = False) -> bool:
    """Gets a request past what would stop nearly all of them: id, ETag, key, names, and what fits together.

    `number` is that of the request, for names that are still free. With `has_id` the id is one that the product gave
    out. False: the request was left alone, and is one of those that nobody can promise to accept.
    """
    operation_id = case.operation.definition.raw["operationId"]
    if number % 4 == 0:
        return operation_id not in BODIES
    headers = case.headers or {}
    if re.fullmatch(KEY_PATTERN, str(headers.get("Idempotency-Key", ""))):
        headers["Idempotency-Key"] = f"key-{number}"
    for name in ("If-Match", "If-None-Match"):
        headers.pop(name, None)
    if not has_id:
        _put_id_right(case)
    if isinstance(case.body, dict) and operation_id in BODIES and not case.meta.generation.mode.is_negative:
        BODIES[operation_id](case.body, number)
        if operation_id in OF_THE_PATH:
            OF_THE_PATH[operation_id](case.body, case.path_parameters, number)
    return True


def _put_id_right(case: Any) -> None:
    path_parameters = case.path_parameters or {}
    if "id" in path_parameters:
        pattern, known_id = KNOWN[case.operation.path.split("/")[3]]
        if re.fullmatch(pattern, str(path_parameters["id"])):
            path_parameters["id"] = str(known_id())
    if re.fullmatch(_UUID, str(path_parameters.get("request_id", ""))):
        path_parameters["request_id"] = str(examples.certificate_request_id())
