"""demo: the commands that it prints."""

from pathlib import Path

from aegis_site.demo import Demo
from aegis_site.environment import BindAddress, read_environment


def test_the_lines_can_be_pasted_into_a_shell() -> None:
    """A path with a space is quoted; the wildcard listener is addressed as loopback."""
    demo = Demo(Path("/my data"), BindAddress("127.0.0.1", 4433))
    environment = read_environment({"AEGIS_PROXY_HTTP": "0.0.0.0:8080"})
    assert [line.strip() for line in demo.lines(environment)[1::2]] == [
        "curl -i -H 'Host: demo.localhost' http://127.0.0.1:8080/",
        "curl -i --cacert '/my data/demo/ca.crt' https://127.0.0.1:4433/",
    ]


def test_everything_is_in_the_data_directory() -> None:
    """Removing the data directory removes the demo."""
    demo = Demo(Path("/data"), BindAddress("127.0.0.1", 4433))
    for path in (demo.ca_path, demo.certificate_path, demo.key_path, demo.client_ca_path):
        assert path.parent == Path("/data/demo")
