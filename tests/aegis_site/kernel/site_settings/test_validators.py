"""What may stand in the site settings."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from aegis_site.kernel.site_settings.validators import (
    Within,
    clean_ca_certificate,
    clean_mail_address,
    clean_public_url,
    clean_recipients,
    clean_smtp_host,
    validate_credential,
    validate_printable,
)
from tests.support.certificates import Authority

CA = Authority("Mail CA")


@pytest.mark.parametrize(
    ("clean", "given", "kept"),
    [
        (clean_smtp_host, " Mail.Example.COM. ", "mail.example.com"),
        (clean_smtp_host, "192.0.2.7", "192.0.2.7"),
        (clean_smtp_host, "[2001:DB8::1]", "2001:db8::1"),
        (clean_smtp_host, "mail_server", "mail_server"),
        (clean_smtp_host, "", ""),
        (clean_mail_address, " ops@example.com ", "ops@example.com"),
        (clean_mail_address, "", ""),
        (clean_recipients, ["a@example.com", "b@example.com", "a@example.com", ""], ["a@example.com", "b@example.com"]),
        (clean_recipients, (), []),
        (clean_ca_certificate, f"text before\n{CA.pem}\n\n", CA.pem),
        (clean_ca_certificate, " \n", ""),
        (clean_public_url, " https://aegis.example.com:8443/admin/ ", "https://aegis.example.com:8443/admin"),
        (clean_public_url, "http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        (clean_public_url, "", ""),
    ],
)
def test_what_is_accepted(clean: Callable[[Any], Any], given: Any, kept: Any) -> None:
    """Values are kept in one form."""
    assert clean(given) == kept


@pytest.mark.parametrize(
    ("clean", "given", "messages"),
    [
        (clean_smtp_host, "mail.example.com:587", ["'mail.example.com:587' is neither a DNS name nor an IP address."]),
        (clean_smtp_host, "bücher.example", ["'bücher.example' is neither a DNS name nor an IP address."]),
        (clean_smtp_host, "fe80::1%eth0", ["'fe80::1%eth0' is neither a DNS name nor an IP address."]),
        (clean_smtp_host, "a b", ["'a b' is neither a DNS name nor an IP address."]),
        (clean_mail_address, "a@example.com\r\nBcc: b", ["'a@example.com\\r\\nBcc: b' is not a mail address."]),
        (clean_mail_address, "a@example.com, b@example.com", ["'a@example.com, b@example.com' is not a mail address."]),
        (clean_mail_address, "a@bücher.example", ["ASCII characters only: write the domain as xn--…."]),
        (clean_mail_address, "a" * 300, ["A mail address has at most 254 characters."]),
        (clean_recipients, ["x", "a@example.com", "y"], ["'x' is not a mail address.", "'y' is not a mail address."]),
        (clean_recipients, ["a@example.com"] * 51, ["At most 50 recipients."]),
        (clean_recipients, "a@example.com", ["A list of mail addresses."]),
        (clean_recipients, [1], ["A list of mail addresses."]),
        (clean_ca_certificate, "rubbish", ["These are no certificates in PEM."]),
        (clean_ca_certificate, "\ud800", ["These are no certificates in PEM."]),
        (clean_ca_certificate, CA.server("m").key_pem, ["This holds a private key: certificates only."]),
        (clean_ca_certificate, "x" * 300_000, ["At most 256 KiB."]),
        (clean_ca_certificate, CA.pem * 51, ["At most 50 certificates."]),
        (clean_public_url, "javascript:alert(1)", ["Enter a URL such as https://aegis.example.com."]),
        (clean_public_url, "https://[::1", ["Enter a URL such as https://aegis.example.com."]),
        (clean_public_url, "https://u:p@aegis.example.com", ["Without a username, a query and a fragment."]),
        (clean_public_url, "https://aegis.example.com/?q", ["Without a username, a query and a fragment."]),
        (validate_printable, "a\nb", ["Printable characters only."]),
        (validate_credential, "pässword", ["Printable ASCII characters only."]),
        (validate_credential, "a\r\n", ["Printable ASCII characters only."]),
        (Within(1, 3), 4, ["Between 1 and 3."]),
        (Within(1, 3), -(10**400), ["Between 1 and 3."]),
    ],
)
def test_what_is_refused(clean: Callable[[Any], Any], given: Any, messages: list[str]) -> None:
    """Each refusal says what is wrong."""
    with pytest.raises(ValidationError) as refused:
        clean(given)
    assert refused.value.messages == messages
