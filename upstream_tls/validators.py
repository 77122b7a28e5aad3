"""What may stand in the settings of upstream TLS. Refusals are django ValidationErrors."""

from django.core.exceptions import ValidationError

from localca.validators import clean_dns_name

MAX_NAME_CHARACTERS = 253


def clean_server_name(text: str) -> str:
    """A DNS name as lower-case A-labels, or nothing. TLS has no server name for addresses (RFC 6066 section 3)."""
    name = text.strip().removesuffix(".")
    if not name:
        return ""
    if len(name) > MAX_NAME_CHARACTERS:
        raise ValidationError(f"A DNS name has at most {MAX_NAME_CHARACTERS} characters.", code="max_length")
    if name.startswith("*."):
        raise ValidationError("A server name is one DNS name, without a wildcard.", code="invalid")
    return clean_dns_name(name)
