"""Which values may be credentials, and what is shown instead."""

import pytest

from aegis_site.kernel.masking import MASK, is_sensitive_field, masked


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "proxy-authorization",
        "Cookie",
        "Set-Cookie",
        "X-Api-Key",
        "apikey",
        "X-Auth-Token",
        "X-Client-Secret",
        "smtp_password",
        "X-Functions-Key",
        "X-Auth",
        "X-Session-Id",
        "X-JWT-Assertion",
    ],
)
def test_names_of_credentials(name: str) -> None:
    """In any case, and what applications make up in their likeness."""
    assert is_sensitive_field(name)


@pytest.mark.parametrize("name", ["X-Frame-Options", "Host", "Cache-Control", "X-Keyboard", "X-Author", "Link", ""])
def test_other_names(name: str) -> None:
    """They are shown as they are."""
    assert not is_sensitive_field(name, "DENY")


@pytest.mark.parametrize("value", ["Bearer abc", " basic dXNlcjpwdw==", "https://user:pw@example.com/", "Token t"])
def test_values_that_tell_by_themselves(value: str) -> None:
    """An authentication scheme or userinfo is a credential under any name."""
    assert is_sensitive_field("X-Upstream", value)
    assert not is_sensitive_field("Location", "https://example.com/@me")


def test_a_mask_shows_that_a_value_changed_and_not_what_it_is() -> None:
    """Equal values have equal masks; without the installation's key nobody can try values."""
    assert masked("hunter2") == masked("hunter2") != masked("hunter3")
    assert masked("hunter2").startswith(MASK)
    assert "hunter2" not in masked("hunter2")
    assert masked("") == ""


def test_masks_are_keyed(settings: object) -> None:
    """Another installation masks the same value otherwise."""
    here = masked("hunter2")
    settings.SECRET_KEY = "another" * 8  # type: ignore[attr-defined]
    assert masked("hunter2") != here
