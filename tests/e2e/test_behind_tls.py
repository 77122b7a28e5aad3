"""The admin behind a proxy that ends TLS, as in production."""

import http.client
import re
from urllib.parse import urlencode

import pytest

from tests.support.instance import ADMIN_PASSWORD, Instance

pytestmark = pytest.mark.e2e


def sign_in(aegis: Instance, *, forwarded_proto: str) -> int:
    """What a browser gets that came over TLS: the status of its sign-in."""
    connection = http.client.HTTPConnection("127.0.0.1", aegis.web_port, timeout=10)
    headers = {"Host": "localhost", "X-Forwarded-Proto": forwarded_proto}
    try:
        connection.request("GET", "/admin/login/", headers=headers)
        page = connection.getresponse()
        cookie = page.getheader("Set-Cookie", "").partition(";")[0]
        found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.read().decode())
        assert found
        form = {"username": "admin", "password": ADMIN_PASSWORD, "csrfmiddlewaretoken": found[1], "next": "/admin/"}
        headers |= {
            "Cookie": cookie,
            "Origin": "https://localhost",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        connection.request("POST", "/admin/login/", urlencode(form), headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_browser_that_came_over_tls_may_send_forms(aegis: Instance) -> None:
    """When the proxy says so; otherwise its page would be another site's."""
    assert sign_in(aegis, forwarded_proto="https") == 302
    assert sign_in(aegis, forwarded_proto="http") == 403
