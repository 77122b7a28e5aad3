"""Errors of the control plane."""


class AegisError(Exception):
    """A refusal with a reason. `code` is stable and documented, `message` is safe to show to a user."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
