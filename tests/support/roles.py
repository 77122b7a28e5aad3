"""Users with a role each."""

from django.contrib.auth.models import User

from aegis_site.access.roles import Role, assign_role

ROLES = tuple(role.value for role in Role)


def user_of(role: str) -> User:
    """A new user of that role, which is also its name."""
    user = User.objects.create_user(role, is_staff=True)
    assign_role(user, Role(role))
    return user
