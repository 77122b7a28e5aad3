"""The admin as a browser uses it: cookies, forms with all their hidden fields, CSRF tokens."""

import urllib.parse
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookies import SimpleCookie

from tests.support.instance import Answer, Instance


@dataclass
class Form:
    """A form of a page with the values that a browser would send for it."""

    path: str
    values: dict[str, str] = field(default_factory=dict)


class AdminSession:
    """Signed in as one user. Raises AssertionError when a form comes back with errors."""

    def __init__(self, instance: Instance, user: str, password: str) -> None:
        self._instance = instance
        self._cookies: dict[str, str] = {}
        self.send(self.form("/admin/login/"), {"username": user, "password": password})

    @property
    def is_signed_in(self) -> bool:
        """Whether the admin's first page opens."""
        return self.get("/admin/").status == 200

    def get(self, path: str) -> Answer:
        """A page, without following redirects."""
        return self._request("GET", path)

    def form(self, path: str) -> Form:
        """The form of a page that has a CSRF token and the most fields."""
        answer = self.get(path)
        assert answer.status == 200, (path, answer.status, answer.headers)
        reader = _FormReader()
        reader.feed(answer.body.decode())
        forms = [values for values in reader.forms if "csrfmiddlewaretoken" in values]
        return Form(path, max(forms, key=len))

    def submit(self, form: Form, changes: dict[str, str]) -> Answer:
        """Send a form with `changes`; saved means redirected."""
        answer = self.send(form, changes)
        assert answer.status == 302, errors_in(answer)
        return answer

    def send(self, form: Form, changes: dict[str, str]) -> Answer:
        """Send a form with `changes`, whatever comes of it."""
        return self._request("POST", form.path, urllib.parse.urlencode({**form.values, **changes}))

    def _request(self, method: str, path: str, body: str | None = None) -> Answer:
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items())}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        answer = self._instance.web(path, method=method, body=body, headers=headers)
        for name, value in answer.headers:
            if name.lower() == "set-cookie":
                self._cookies |= {key: morsel.value for key, morsel in SimpleCookie(value).items()}
        return answer


def errors_in(answer: Answer) -> str:
    """What a refused form says, or the start of the page."""
    reader = _FormReader()
    reader.feed(answer.body.decode())
    return f"{answer.status}: {' | '.join(reader.errors) or answer.body[:2000]!r}"


class _FormReader(HTMLParser):
    """Collects the successful controls of each form (HTML section 4.10.21.4), without buttons, and error texts."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[dict[str, str]] = []
        self.errors: list[str] = []
        self._textarea = ""
        self._select = ""
        self._error_depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        name = attributes.get("name", "")
        if tag == "form":
            self.forms.append({})
        if "errorlist" in attributes.get("class", ""):
            self._error_depth = 1
        if not self.forms or not name:
            if tag == "option" and self._select and "selected" in attributes:
                self.forms[-1][self._select] = attributes.get("value", "")
            return
        kind = attributes.get("type", "text")
        if tag == "textarea":
            self._textarea = name
            self.forms[-1][name] = ""
        elif tag == "select":
            self._select = name
        elif tag == "input" and kind not in {"submit", "button", "file", "checkbox", "radio"}:
            self.forms[-1][name] = attributes.get("value", "")
        elif tag == "input" and kind in {"checkbox", "radio"} and "checked" in attributes:
            self.forms[-1][name] = attributes.get("value", "on")

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self._textarea = ""
        elif tag == "select":
            self._select = ""
        elif tag == "ul":
            self._error_depth = 0

    def handle_data(self, data: str) -> None:
        if self._textarea:
            # The parser of HTML drops the newline that follows the start tag.
            text = data.removeprefix("\r").removeprefix("\n") if not self.forms[-1][self._textarea] else data
            self.forms[-1][self._textarea] += text
        elif self._error_depth and data.strip():
            self.errors.append(data.strip())
