"""reset_two_factor: the way in when nobody has one."""

from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.utils import timezone

from aegis_site.access.models import SecondFactor
from aegis_site.kernel.audit.models import AuditEntry
from tests.support.second_factors import enrolled

pytestmark = pytest.mark.django_db


def test_the_command() -> None:
    """Audited as a command; who has none, or is nobody, is said."""
    user = User.objects.create_user("alice")
    enrolled(user, now=timezone.now())
    out = StringIO()
    call_command("reset_two_factor", "alice", stdout=out)
    assert out.getvalue() == "Two-factor sign-in of alice is reset, and all sessions have ended.\n"
    assert not SecondFactor.objects.exists()
    entry = AuditEntry.objects.get(action="second_factor_reset")
    assert (entry.origin, entry.user, entry.target_name) == ("command", None, "alice")
    with pytest.raises(CommandError, match="alice has no two-factor sign-in"):
        call_command("reset_two_factor", "alice")
    with pytest.raises(CommandError, match="there is no user 'bob'"):
        call_command("reset_two_factor", "bob")
