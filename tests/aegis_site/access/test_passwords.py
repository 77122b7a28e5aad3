"""Whether the generated password is still there."""

import pytest
from django.contrib.auth.models import User

from aegis_site.access.passwords import has_generated_password, note_generated

pytestmark = pytest.mark.django_db


def test_a_new_password_ends_it() -> None:
    """Whoever sets it; of others nothing is said."""
    user, other = (User.objects.create_user(name, password="generated-by-hand") for name in ("admin", "other"))
    note_generated(user)
    note_generated(user)
    assert has_generated_password(user)
    assert not has_generated_password(other)
    user.save()
    assert has_generated_password(user)
    user.set_password("chosen-by-somebody")
    user.save()
    assert not has_generated_password(user)
