"""sections: parts of hosts that apps above this one own."""

import pytest
from django.core.exceptions import ValidationError

from aegis_site.kernel.audit.models import AuditEntry
from healthchecks.models import HealthCheck
from hosts.models import Host
from hosts.sections import registered, related_names, values_of
from hosts.services import create_host, update_host
from hosts.specs import HostSpec, UpstreamSpec
from tests.hosts.examples import make_host, spec

pytestmark = pytest.mark.django_db


def test_the_health_check_is_one() -> None:
    """Registered when the apps are loaded."""
    assert related_names() == ("health_check",)
    [section] = registered()
    assert section.make_serializer().required is False
    assert values_of({}, is_whole=False) == {}
    assert values_of({}, is_whole=True)["health_check"]["interval_s"] == 10
    assert values_of({"health_check": {"path": "/x"}}, is_whole=False) == {"health_check": {"path": "/x"}}


def test_a_new_host_has_its_row_and_a_change_changes_what_it_names() -> None:
    """Read with the host, without a query of its own."""
    host = make_host(sections={"health_check": {"path": "/healthz"}})
    update_host(host=host, spec=HostSpec(sections={"health_check": {"interval_s": 30}}), user=None)
    update_host(host=host, spec=HostSpec(name="other"), user=None)
    check = Host.objects.with_configuration().get(pk=host.pk).health_check
    assert (check.path, check.interval_s, check.enabled) == ("/healthz", 30, False)
    assert [change["field"] for change in AuditEntry.objects.order_by("pk")[1].changes] == ["health_check.interval_s"]


def test_a_host_of_an_older_version_has_the_defaults(django_assert_num_queries: object) -> None:
    """Until it gets a row with its first change."""
    host = make_host()
    HealthCheck.objects.all().delete()
    [section] = registered()
    assert section.row_of(Host.objects.with_configuration().get(pk=host.pk)).interval_s == 10
    update_host(host=host, spec=HostSpec(sections={"health_check": {"path": "/x"}}), user=None)
    assert HealthCheck.objects.get().path == "/x"


def test_its_errors_come_with_those_of_the_host() -> None:
    """All at once, under its name; nothing is saved."""
    wrong = spec(
        upstreams=(UpstreamSpec(address="a b", port=1),),
        sections={
            "health_check": {
                "path": "x",
                "timeout_s": 10.0,
                "method": "POST",
                "headers": [{"name": "a b", "value": "c"}],
            }
        },
    )
    with pytest.raises(ValidationError) as caught:
        create_host(spec=wrong, user=None)
    assert set(caught.value.error_dict) == {
        "upstreams[0].address",
        "health_check.path",
        "health_check.timeout_s",
        "health_check.method",
        "health_check.headers",
    }
    assert not Host.objects.exists()
