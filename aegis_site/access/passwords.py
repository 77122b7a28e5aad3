"""Whether somebody still has the password that the first run made up.

Laws of this module: what is known is that it was generated, never what it is. A new password ends it, whichever way it
was set (`session_list.observe`).
"""

from django.contrib.auth.models import User

from aegis_site.access.models import GeneratedPassword


def note_generated(user: User) -> None:
    """The user's password was made up and printed."""
    GeneratedPassword.objects.get_or_create(user=user)


def has_generated_password(user: User) -> bool:
    """Whether the user still has it, and should change it. One query."""
    return GeneratedPassword.objects.filter(user_id=user.pk).exists()
