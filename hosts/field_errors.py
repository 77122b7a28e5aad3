"""Collects validation errors under paths such as `upstreams[0].address` or `upstream_tls.client_key`."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError


class FieldErrors:
    """All that is wrong with one request, raised at once."""

    def __init__(self) -> None:
        self._errors: dict[str, list[ValidationError]] = {}

    @contextmanager
    def under(self, path: str) -> Iterator[None]:
        """Keeps a ValidationError of the block: its fields below `path`, what belongs to no field at `path` itself."""
        try:
            yield
        except ValidationError as error:
            fields = error.error_dict if hasattr(error, "error_dict") else {NON_FIELD_ERRORS: error.error_list}
            for field_name, problems in fields.items():
                key = ".".join(part for part in (path, field_name) if part and part != NON_FIELD_ERRORS)
                self._errors.setdefault(key or NON_FIELD_ERRORS, []).extend(problems)

    def raise_if_any(self) -> None:
        """Raises one ValidationError with everything kept so far."""
        if self._errors:
            raise ValidationError(self._errors)
