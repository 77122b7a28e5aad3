"""The steps as a browser gets them, without a browser: what each asks, refuses and stores."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from hosts.models import ConnectionTest, Host
from hosts.specs import UpstreamSpec
from hosts.wizard.steps import Step
from localca.models import IssuedCertificate
from localca.services import ensure_authority
from tests.hosts.examples import LEAF, OTHER_LEAF, make_host, mtls
from tests.hosts.wizard.examples import NEW, begun, operator, text_of, url
from tests.support.certificates import Authority, Leaf, expired
from tests.support.nginx import Nginx
from tests.support.plain_upstream import answering
from tests.support.ports import free_port
from tests.support.valkey import running_valkey

pytestmark = pytest.mark.django_db

SERVER_CA = Authority("Upstream CA")
CLIENT_CA = Authority("Client CA")
NAME = "backend.internal"
SERVER = SERVER_CA.server(NAME, "127.0.0.1")


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[Nginx]:
    """It demands a certificate of CLIENT_CA."""
    with Nginx(tmp_path, server=SERVER, client_ca_pem=CLIENT_CA.pem) as running:
        yield running


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ({"domains": ""}, "This field is required."),
        ({"domains": "no_name!"}, "is not a domain name."),
        ({"domains": "taken.example.com"}, "taken.example.com is already a domain of the host taken."),
        ({"domains": "new.example.com", "name": "taken"}, "There is a host with this name already."),
    ],
)
def test_errors_stand_at_their_field_and_nothing_is_made(
    admin_client: Client, sent: dict[str, str], message: str
) -> None:
    """What was typed is still there."""
    make_host("taken")
    response = admin_client.post(NEW, sent)
    assert message in text_of(response).replace("&#x27;", "'")
    form = response.context["form"]
    assert list(form.errors) == ["name" if "name" in sent else "domains"]
    assert form["domains"].value() == sent["domains"]
    assert Host.objects.count() == 1


@pytest.mark.parametrize(
    "wrong", ["ftp://10.0.0.7", "https://10.0.0.7/path", "10.0.0.7:99999", "https://u:p@x", "a b!"]
)
def test_an_upstream_that_is_none_is_refused_at_its_field(admin_client: Client, wrong: str) -> None:
    """Nothing is stored."""
    host = begun(admin_client)
    response = admin_client.post(url(host, Step.UPSTREAMS), {"upstreams": wrong})
    assert list(response.context["form"].errors) == ["upstreams"]
    assert wrong in text_of(response)
    assert not host.upstreams.exists()


def test_two_hosts_at_once_do_not_mix(admin_client: Client) -> None:
    """As in two tabs: what is sent to one says nothing about the other."""
    with answering(None) as port:
        one = begun(admin_client, domain="one.example.com")
        two = begun(admin_client, f"http://127.0.0.1:{port}", domain="two.example.com")
        admin_client.post(url(one, Step.UPSTREAMS), {"upstreams": "http://10.0.0.1"})
    assert [str(upstream) for upstream in one.upstreams.all()] == ["http://10.0.0.1:80"]
    assert [str(upstream) for upstream in two.upstreams.all()] == [f"http://127.0.0.1:{port}"]


def test_going_back_keeps_what_was_stored(admin_client: Client) -> None:
    """The form has it, and a save keeps what the wizard does not ask for."""
    host = make_host(
        enabled=False,
        upstreams=(
            UpstreamSpec(address="10.0.0.7", port=9443, weight=5, scheme="http"),
            UpstreamSpec(address="10.0.0.8", port=80, scheme="http", enabled=False),
        ),
    )
    page = admin_client.get(url(host, Step.UPSTREAMS))
    assert page.context["form"]["upstreams"].value() == "http://10.0.0.7:9443"
    admin_client.post(url(host, Step.UPSTREAMS), {"upstreams": "http://10.0.0.7:9443 http://10.0.0.9"})
    stored = [(str(upstream), upstream.weight, upstream.enabled) for upstream in host.upstreams.all()]
    assert stored == [
        ("http://10.0.0.7:9443", 5, True),
        ("http://10.0.0.9:80", 1, True),
        ("http://10.0.0.8:80", 1, False),
    ]


@pytest.mark.django_db(transaction=True)
def test_the_way_to_a_host_whose_upstream_takes_its_certificate(admin_client: Client, upstream: Nginx) -> None:
    """An unknown CA, then a demand, then an uploaded certificate, then a test that passes, then live."""
    host = begun(admin_client, f"https://127.0.0.1:{upstream.port}")
    check, test = url(host, Step.CHECK), url(host, Step.TEST)
    assert "It has a certificate of an unknown CA." in text_of(admin_client.get(check))
    assert admin_client.post(check, {"do": "ca", "ca_certificate": SERVER_CA.pem})["Location"] == check
    page = text_of(admin_client.get(check))
    assert "It demands a client certificate." in page
    assert "CN=Client CA" in page
    resumed = admin_client.get(reverse("admin:hosts_host_set_up", args=[host.pk]))
    assert resumed["Location"] == check

    # Not live before it works, unless somebody says so.
    refused = admin_client.post(url(host, Step.LIVE), {"do": "live"}, follow=True)
    assert "The test of what is saved has to pass first." in text_of(refused)

    leaf = CLIENT_CA.client("orders")
    sent = {"do": "upload", "client_certificate": leaf.chain_pem, "client_key": leaf.key_pem}
    assert admin_client.post(url(host, Step.CERTIFICATE), sent)["Location"] == url(host, Step.SERVER)
    assert "ssl_verify_client on;" in text_of(admin_client.get(url(host, Step.SERVER)))
    assert admin_client.post(url(host, Step.SERVER))["Location"] == test
    assert "It takes this host&#x27;s client certificate, and answers (HTTP 200)." in text_of(admin_client.get(test))
    resumed = admin_client.get(reverse("admin:hosts_host_set_up", args=[host.pk]))
    assert resumed["Location"] == url(host, Step.LIVE)
    assert admin_client.post(url(host, Step.LIVE), {"do": "live"}).status_code == 302
    assert "curl -i -H &#x27;Host: orders.example.com&#x27; http://127.0.0.1:8080/" in text_of(
        admin_client.get(url(host, Step.LIVE))
    )
    host.refresh_from_db()
    assert host.enabled
    assert not host.upstream_tls.skip_verify


@pytest.mark.django_db(transaction=True)
def test_a_change_after_the_test_asks_for_another(admin_client: Client, tmp_path: Path) -> None:
    """What was tested is not what would go live."""
    with Nginx(tmp_path, server=SERVER, client_ca_pem=CLIENT_CA.pem, verify="off") as nginx:
        host = begun(admin_client, f"https://127.0.0.1:{nginx.port}")
        admin_client.post(url(host, Step.CHECK), {"do": "ca", "ca_certificate": SERVER_CA.pem})
    page = text_of(admin_client.get(url(host, Step.CHECK)))
    assert "It asks for no client certificate: whoever reaches it gets an answer (HTTP 200)." in page
    assert "Go live</button>" in text_of(admin_client.get(url(host, Step.LIVE))).replace("\n", "")
    admin_client.post(url(host, Step.DOMAINS), {"domains": "other.example.com", "name": "other"})
    assert "The host has been changed since this test." in text_of(admin_client.get(url(host, Step.CHECK)))
    assert "Go live without a passed test" in text_of(admin_client.get(url(host, Step.LIVE)))
    admin_client.post(url(host, Step.LIVE), {"do": "live"})
    assert not Host.objects.get(pk=host.pk).enabled
    admin_client.post(url(host, Step.LIVE), {"do": "anyway"})
    assert Host.objects.get(pk=host.pk).enabled


def found(client: Client, host: Host) -> Any:
    """The one finding of the check."""
    (finding,) = client.get(url(host, Step.CHECK)).context["findings"]
    return finding


@pytest.mark.django_db(transaction=True)
def test_a_certificate_is_trusted_by_the_fingerprint_that_was_shown(admin_client: Client, tmp_path: Path) -> None:
    """The CA when the upstream sends it; a fingerprint that no test showed trusts nothing; nothing is skipped."""
    root = Authority("Shown root")
    server = Authority("Shown intermediate", parent=root).server("127.0.0.1")
    chain = Leaf(certificate=server.certificate, chain_pem=server.chain_pem + root.pem, key=server.key)
    with Nginx(tmp_path, server=chain, client_ca_pem=CLIENT_CA.pem, verify="off") as nginx:
        host = begun(admin_client, f"https://127.0.0.1:{nginx.port}")
        check = url(host, Step.CHECK)
        anchor = found(admin_client, host).anchor
        assert anchor.facts.subject == "CN=Shown root"
        assert anchor.facts.fingerprint_sha256 in text_of(admin_client.get(check))
        answer = admin_client.post(check, {"do": "trust", "fingerprint": "0" * 64}, follow=True)
        assert "compare the fingerprint again" in text_of(answer)
        assert Host.objects.get(pk=host.pk).upstream_tls.ca_certificate == ""
        admin_client.post(check, {"do": "trust", "fingerprint": anchor.facts.fingerprint_sha256})
        assert found(admin_client, host).badge == "Works"
    configuration = Host.objects.get(pk=host.pk).upstream_tls
    assert (configuration.ca_certificate, configuration.skip_verify) == (root.pem, False)


@pytest.mark.django_db(transaction=True)
def test_another_name_is_asked_for(admin_client: Client, tmp_path: Path) -> None:
    """The one in the certificate is proposed; one that is no name is refused at the field."""
    with Nginx(tmp_path, server=SERVER_CA.server(NAME), client_ca_pem=CLIENT_CA.pem, verify="off") as nginx:
        host = begun(admin_client, f"https://127.0.0.1:{nginx.port}")
        check = url(host, Step.CHECK)
        admin_client.post(check, {"do": "ca", "ca_certificate": SERVER_CA.pem})
        finding = found(admin_client, host)
        assert (finding.code, finding.server_names) == ("ip_mismatch", (NAME,))
        assert f'value="{NAME}"' in text_of(admin_client.get(check))
        wrong = admin_client.post(check, {"do": "name", "server_name": "not a name"})
        assert "is not a DNS name" in text_of(wrong)
        admin_client.post(check, {"do": "name", "server_name": NAME})
        assert found(admin_client, host).badge == "Works"


@pytest.mark.django_db(transaction=True)
def test_what_an_upstream_without_tls_is(admin_client: Client) -> None:
    """The check says so and offers http; then nothing about TLS is asked, and it can go live."""
    with answering(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n") as port:
        host = begun(admin_client, f"https://127.0.0.1:{port}")
        finding = found(admin_client, host)
        assert (finding.code, finding.is_plain) == ("not_tls", True)
        admin_client.post(url(host, Step.CHECK), {"do": "plain", "upstream": str(finding.test.upstream_id)})
    assert [str(upstream) for upstream in host.upstreams.all()] == [f"http://127.0.0.1:{port}"]
    page = admin_client.get(url(host, Step.CHECK))
    assert "no client certificate can be presented" in text_of(page)
    assert page.context["next_url"] == url(host, Step.LIVE)
    assert "nothing to test: plain HTTP" in text_of(admin_client.get(url(host, Step.LIVE)))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("server", "code"), [(None, "connection_refused"), ("expired", "expired")])
def test_what_no_click_puts_right_has_its_cause_and_fix(
    admin_client: Client, tmp_path: Path, server: str | None, code: str
) -> None:
    """Nobody listens; or the certificate is over."""
    port = free_port()
    leaf = SERVER_CA.server("127.0.0.1", **expired())
    if server is None:
        host = begun(admin_client, f"https://127.0.0.1:{port}")
    else:
        with Nginx(tmp_path, server=leaf, client_ca_pem=CLIENT_CA.pem, port=port) as _:
            host = begun(admin_client, f"https://127.0.0.1:{port}")
            admin_client.post(url(host, Step.CHECK), {"do": "ca", "ca_certificate": SERVER_CA.pem})
    finding = found(admin_client, host)
    assert (finding.code, bool(finding.cause), bool(finding.fix)) == (code, True, True)
    page = text_of(admin_client.get(url(host, Step.CHECK)))
    assert ("Correct the upstream" in page) is (server is None)


@pytest.mark.django_db(transaction=True)
def test_tests_are_counted(client: Client, settings: Settings) -> None:
    """Over the rate the step is stored all the same, and the page says why nothing was tested."""
    operator(client)
    settings.AEGIS_TESTS_PER_MINUTE = 0
    host = begun(client)
    with running_valkey() as server:
        settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": [server.url]}}
        answer = client.post(url(host, Step.UPSTREAMS), {"upstreams": "https://127.0.0.1:1"}, follow=True)
    assert host.upstreams.count() == 1
    assert "You have asked for many tests." in text_of(answer)
    assert not ConnectionTest.objects.exists()


def test_issuing_takes_its_permission(client: Client) -> None:
    """An operator is told so and may upload; an administrator gets a certificate by one click."""
    authority = ensure_authority()
    user = operator(client)
    host = make_host(enabled=False)
    step = url(host, Step.CERTIFICATE)
    assert "Your role may not issue certificates." in text_of(client.get(step))
    assert client.post(step, {"do": "issue"}).status_code == 403
    assert not IssuedCertificate.objects.exists()
    user.user_permissions.add(Permission.objects.get(codename="add_issuedcertificate"))
    assert client.post(step, {"do": "issue"})["Location"] == url(host, Step.SERVER)
    configuration = Host.objects.get(pk=host.pk).upstream_tls
    assert configuration.enabled
    assert configuration.client_certificate_facts[0].issuer == authority.certificate.subject.rfc4514_string()


def test_a_refused_upload_loses_nothing_and_shows_no_key(admin_client: Client) -> None:
    """The key comes back sealed, and with the right certificate it is used."""
    host = make_host(enabled=False)
    step = url(host, Step.CERTIFICATE)
    wrong = {"do": "upload", "client_certificate": OTHER_LEAF.chain_pem, "client_key": LEAF.key_pem}
    response = admin_client.post(step, wrong)
    assert list(response.context["form"].errors) == ["client_key"]
    page = text_of(response)
    assert LEAF.key_pem.splitlines()[1] not in page
    token = response.context["form"]["kept_client_key"].value()
    right = {"do": "upload", "client_certificate": LEAF.chain_pem, "kept_client_key": token}
    assert admin_client.post(step, right)["Location"] == url(host, Step.SERVER)
    assert Host.objects.get(pk=host.pk).upstream_tls.client_key.reveal().decode() == LEAF.key_pem


@pytest.mark.django_db(transaction=True)
def test_going_without_keeps_what_is_stored(admin_client: Client) -> None:
    """And the upstream's side is then nothing to be done."""
    upstreams = (UpstreamSpec(address="127.0.0.1", port=free_port()),)
    host = make_host(enabled=False, upstream_tls=mtls(), upstreams=upstreams)
    admin_client.post(url(host, Step.CERTIFICATE), {"do": "none"})
    configuration = Host.objects.get(pk=host.pk).upstream_tls
    assert (configuration.enabled, configuration.has_client_key) == (False, True)
    assert "needs no change" in text_of(admin_client.get(url(host, Step.SERVER)))
