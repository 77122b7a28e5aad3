"""The names of log files."""

import pytest

from proxyworker.log_files import LOCK_FILE, LogFileName, file_name, parsed_name, stem_of


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("app.example.com", "app.example.com.log"),
        ("Orders_2-test", "Orders_2-test.log"),
        ("", "~no-host.log"),
        ("../../etc/passwd", "_.._etc_passwd~"),
        (".hidden", "hidden~"),
        ("-rf", "rf~"),
        ("a b", "a_b~"),
        ("a/b", "a_b~"),
        ("~no-host", "_no-host~"),
        ("ü" * 300, "_" * 64 + "~"),
        ("x" * 300, "x" * 64 + "~"),
        ("nul\0", "nul_~"),
        ("..", "~"),
    ],
)
def test_names_of_files(host: str, name: str) -> None:
    """A host that can be a file name is one; any other gets what is left of it and a digest."""
    made = file_name(host)
    assert made.startswith(name.partition("~")[0])
    assert len(made.encode()) <= 100 + 64
    assert not set(made) & set("/\0 ")
    assert made[0] not in ".-"


def test_hosts_never_share_a_file() -> None:
    """Names that look alike when made safe, and names made to look like another's file."""
    hosts = [
        "a b",
        "a/b",
        "a_b",
        "a\tb",
        "",
        "~no-host",
        "no-host",
        ".a_b",
        "a_b~",
        file_name("a b").removesuffix(".log"),
    ]
    assert len({file_name(host) for host in hosts}) == len(hosts)


@pytest.mark.parametrize(
    "host", ["app.example.com", "", "a b", "..", "a.log", "a.log.1", "errors", "~no-host", "x" * 300]
)
def test_what_a_name_says(host: str) -> None:
    """Whose file it is, of which kind, and how old; whatever the host is called."""
    for kind in ("access", "errors"):
        for number in (0, 1, 1000):
            name = LogFileName(stem_of(host), kind, number)  # type: ignore[arg-type]
            assert parsed_name(str(name)) == name


@pytest.mark.parametrize(
    "name",
    [LOCK_FILE, "", ".log", "..log", "-a.log", "a.txt", "a.log.0", "a.log.gz", "a.log.10000", "a/b.log", "a\n.log"],
)
def test_what_is_no_log_file(name: str) -> None:
    """The lock, what somebody packed or put there, and what would lead elsewhere."""
    assert parsed_name(name) is None
