"""Forms in which somebody proves who it is.

Laws of this module: what was typed is never rendered again.
"""

from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminTextInputWidget

# A recovery code with its dashes has 19.
MAX_CODE_CHARACTERS = 40


class CodeInput(UnfoldAdminTextInputWidget):
    """For a code: browsers and phones offer what they have for it, and nobody corrects its spelling."""

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        super().__init__(
            {"autocomplete": "one-time-code", "autocapitalize": "off", "spellcheck": "false", **(attrs or {})}
        )

    def format_value(self, value: Any) -> None:
        return None


class CodeForm(forms.Form):
    """The second step of a sign-in."""

    code = forms.CharField(
        label="Code",
        max_length=MAX_CODE_CHARACTERS,
        widget=CodeInput({"autofocus": True}),
        help_text="Six digits from your app, or one of your recovery codes.",
    )


class FirstCodeForm(forms.Form):
    """The proof that an app has the secret."""

    code = forms.CharField(
        label="Code from the app",
        max_length=MAX_CODE_CHARACTERS,
        widget=CodeInput({"inputmode": "numeric"}),
        help_text="The six digits that it shows now.",
    )


class ProofForm(forms.Form):
    """Password and code: an unattended browser is not enough."""

    password = forms.CharField(
        label="Password",
        strip=False,
        max_length=4096,
        widget=UnfoldAdminPasswordWidget({"autocomplete": "current-password"}),
    )
    code = forms.CharField(
        label="Code",
        max_length=MAX_CODE_CHARACTERS,
        widget=CodeInput(),
        help_text="Six digits from your app, or one of your recovery codes.",
    )
