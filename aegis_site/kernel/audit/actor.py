"""Who does something."""

from typing import TypeAlias

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser

# As `request.user` is typed; who is not signed in is nobody.
Actor: TypeAlias = AbstractBaseUser | AnonymousUser
