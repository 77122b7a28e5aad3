"""Whether this web process can do its work: `/healthz` and `/readyz`.

Laws of this module: the answers are public, so they name what is wrong and hold no value of any setting.
"""

from django.db import DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from aegis_site.kernel.keyring import KeyringError, get_keyring
from aegis_site.kernel.secrets import unreadable_secrets

# What was once true of this process's code, keys and database stays true until it is started again.
_passed_once: set[str] = set()


@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """200 while the process answers at all."""
    return JsonResponse({"status": "ok"})


@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when the database answers, is migrated, and every secret opens; else 503 with the reason."""
    try:
        problem = _problem()
    except DatabaseError:
        problem = "the database does not answer"
    if problem:
        return JsonResponse({"status": "unavailable", "reason": problem}, status=503)
    return JsonResponse({"status": "ready"})


def _problem() -> str:
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT 1")
    for name, find_problem in (("migrated", _migration_problem), ("secrets", _secret_problem)):
        if name not in _passed_once:
            if problem := find_problem():
                return problem
            _passed_once.add(name)
    return ""


def _migration_problem() -> str:
    executor = MigrationExecutor(connections["default"])
    is_behind = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return "the database is not migrated" if is_behind else ""


def _secret_problem() -> str:
    try:
        get_keyring()
    except KeyringError as error:
        return error.message
    match sum(1 for _ in unreadable_secrets()):
        case 0:
            return ""
        case 1:
            found, named = "1 stored secret does not open", "it"
        case count:
            found, named = f"{count} stored secrets do not open", "them"
    return f"{found} with AEGIS_SSL_KEY; `manage.py check --database default` names {named}"
