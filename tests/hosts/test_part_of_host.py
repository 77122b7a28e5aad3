"""part_of_host: who may do something with a host may do it with its parts."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import RequestFactory

from hosts.models import Host
from hosts.part_of_host import PartOfHost

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("codenames", "of_new", "of_stored"),
    [
        ([], (False, False), (False, False)),
        (["view_host"], (True, False), (True, False)),
        (["add_host"], (True, True), (True, False)),
        (["change_host"], (True, False), (True, True)),
    ],
)
def test_rights_are_those_on_the_host(codenames: list[str], of_new: Any, of_stored: Any) -> None:
    """To view, and to change; adding and deleting a part is a change of the host."""
    user = User.objects.create_user("alice")
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    request = RequestFactory().get("/")
    request.user = User.objects.get(pk=user.pk)
    part = PartOfHost()
    for host, expected in ((None, of_new), (Host(), of_stored)):
        assert (part.has_view_permission(request, host), part.has_change_permission(request, host)) == expected
        assert part.has_add_permission(request, host) == part.has_delete_permission(request, host) == expected[1]
