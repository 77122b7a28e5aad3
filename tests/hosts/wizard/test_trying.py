"""The first request, as a line for a shell."""

import pytest

from hosts.wizard.trying import curl_line

HTTP, HTTPS = ("0.0.0.0:8080", "10.0.0.1:81"), ("[::]:8443",)


@pytest.mark.parametrize(
    ("domain", "http", "https", "has_certificate", "line"),
    [
        ("a.test", HTTP, HTTPS, False, "curl -i -H 'Host: a.test' http://127.0.0.1:8080/"),
        ("*.a.test", HTTP, (), True, "curl -i -H 'Host: www.a.test' http://127.0.0.1:8080/"),
        ("a.test", HTTP, HTTPS, True, "curl -ik --connect-to 'a.test:8443:[::1]:8443' https://a.test:8443/"),
        ("a.test", (), ("10.0.0.1:443",), False, "curl -ik --connect-to 'a.test:443:10.0.0.1:443' https://a.test:443/"),
        (
            "a.test",
            ("127.0.0.1:80 proxy_protocol",),
            (),
            False,
            "curl -i --haproxy-protocol -H 'Host: a.test' http://127.0.0.1:80/",
        ),
        ("a.test", (), (), False, ""),
    ],
)
def test_the_line(domain: str, http: tuple[str, ...], https: tuple[str, ...], has_certificate: bool, line: str) -> None:
    """To an address that can be called, by the protocol that is served."""
    assert curl_line(domain, http=http, https=https, has_certificate=has_certificate) == line
