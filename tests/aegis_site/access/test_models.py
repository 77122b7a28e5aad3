"""API tokens as rows."""

import datetime

from django.utils import timezone

from aegis_site.access.models import ApiToken, Scope


def test_what_a_token_is_called() -> None:
    """Its name and what it may do."""
    assert str(ApiToken(name="metrics", scope=Scope.READ)) == "metrics (read)"
    assert str(ApiToken(name="deploy", scope=Scope.WRITE)) == "deploy (read and write)"


def test_expiry() -> None:
    """At the second of its end it is over."""
    now = timezone.now()
    assert ApiToken(expiry=now).is_expired
    assert not ApiToken(expiry=now + datetime.timedelta(seconds=60)).is_expired
