"""The pages of rotations, as a browser gets them."""

import datetime
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from hosts.certificate_requests import request_certificate, rotate_to_signed_certificate
from hosts.models import Host
from hosts.rotation.models import Rotation
from hosts.rotation.services import cancel
from hosts.services import install_issued_certificate
from localca.models import IssuedCertificate
from tests.hosts.examples import make_host
from tests.hosts.rotation.examples import NEW, NEW_CA, OLD, again, in_use, next_step, plain_host, staged
from tests.support.signing_requests import signed_by
from upstream_tls.certificate_requests import Wish

pytestmark = pytest.mark.django_db


def list_url(host: Host) -> str:
    return reverse("admin:hosts_host_rotations", args=[host.pk])


def page_url(rotation: Rotation) -> str:
    return reverse("admin:hosts_rotation", args=[rotation.host_id, rotation.pk])


def page(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200
    text = response.content.decode()
    assert "PRIVATE KEY" not in text
    return text


def do(client: Client, rotation: Rotation, verb: str, **more: str) -> str:
    response = client.post(page_url(rotation), {"do": verb, **more}, follow=True)
    assert response.status_code == 200
    return response.content.decode()


def uploaded(**changes: Any) -> dict[str, Any]:
    return {"client_certificate": NEW.chain_pem, "client_key": NEW.key_pem, **changes}


def test_the_editor_leads_there(admin_client: Client) -> None:
    """By a link."""
    host = plain_host()
    assert f'href="{list_url(host)}"' in page(admin_client, reverse("admin:hosts_host_change", args=[host.pk]))


def test_a_rotation_from_its_upload_to_its_end(admin_client: Client) -> None:
    """Manual: it waits for the button, and the page does not reload meanwhile."""
    host = plain_host()
    assert "There has been none." in page(admin_client, list_url(host))
    response = admin_client.post(list_url(host), uploaded(is_manual="on"))
    rotation = Rotation.objects.get()
    assert response["Location"] == page_url(rotation)
    assert 'http-equiv="refresh"' in page(admin_client, page_url(rotation))
    next_step(rotation)
    text = page(admin_client, page_url(rotation))
    assert "It waits for your confirmation." in text
    assert 'http-equiv="refresh"' not in text
    assert "CN=new identity" in text
    assert "is not over" in page(admin_client, list_url(host))
    do(admin_client, rotation, "confirm")
    assert in_use(host) == "CN=new identity"
    text = page(admin_client, page_url(rotation))
    assert "In use, watched" in text
    assert "By admin." in text


def test_a_file_will_do(admin_client: Client) -> None:
    """Certificate and key as files."""
    host = plain_host()
    files = {
        "client_certificate_file": SimpleUploadedFile("new.crt", NEW.chain_pem.encode()),
        "client_key_file": SimpleUploadedFile("new.key", NEW.key_pem.encode()),
    }
    assert admin_client.post(list_url(host), files).status_code == 302
    assert Rotation.objects.get().candidate_facts[0].subject == "CN=new identity"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (uploaded(client_key=OLD.key_pem), "Private Key does not match"),
        (uploaded(client_certificate=""), "Paste the new certificate"),
        (uploaded(client_certificate=OLD.chain_pem, client_key=OLD.key_pem), "in use already"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(admin_client: Client, values: dict[str, Any], text: str) -> None:
    """And no key comes back."""
    response = admin_client.post(list_url(plain_host()), values)
    shown = response.content.decode()
    assert response.status_code == 200
    assert text.lower() in shown.lower()
    assert "PRIVATE KEY" not in shown
    assert OLD.key_pem.splitlines()[1] not in shown
    assert not Rotation.objects.exists()


def test_the_local_ca_issues(admin_client: Client) -> None:
    """By a button of its own."""
    host = plain_host()
    assert admin_client.post(list_url(host), {"issue": "1"}).status_code == 302
    assert IssuedCertificate.objects.count() == 1


def test_a_refused_one_can_be_promoted_for_a_reason(admin_client: Client) -> None:
    """Not without; probing again and cancelling are buttons too."""
    host = plain_host()
    rotation = staged(host, is_manual=True)
    Rotation.objects.update(state="refused", code="timeout", message="It hangs.")
    text = page(admin_client, page_url(rotation))
    for shown in ("Promote anyway", "Probe again", "Cancel", "It hangs."):
        assert shown in text
    assert "Say why" in do(admin_client, rotation, "promote")
    assert in_use(host) == "CN=old identity"
    do(admin_client, rotation, "promote", override_reason="<b>the upstream is next</b>")
    assert in_use(host) == "CN=new identity"
    assert "&lt;b&gt;the upstream is next" in page(admin_client, page_url(rotation))
    assert "nothing to cancel" in do(admin_client, rotation, "cancel")
    assert "Nothing was chosen" in do(admin_client, rotation, "dance")


def test_a_page_on_which_somebody_may_write_stays(admin_client: Client) -> None:
    """A refused renewal is probed again by itself in hours; until then the page must not lose what is being typed."""
    rotation = staged(plain_host(), is_manual=True)
    Rotation.objects.update(state="refused", due_at=timezone.now() + datetime.timedelta(hours=1))
    assert 'http-equiv="refresh"' not in page(admin_client, page_url(rotation))


def test_what_holds_renewal_up_is_said(admin_client: Client) -> None:
    """On the host's page, on that of its rotations, and on that of the rotation."""
    host = plain_host()
    certificate = install_issued_certificate(host=host, user=None)
    rotation = staged(host, is_manual=True)
    urls = [list_url(host), page_url(rotation), reverse("admin:hosts_host_change", args=[host.pk])]
    assert not [url for url in urls if "Not renewed" in page(admin_client, url)]
    with time_machine.travel(certificate.not_after - datetime.timedelta(days=30), tick=False):
        admin_client.force_login(User.objects.get(username="admin"))
        for url in urls:
            text = page(admin_client, url)
            assert f'ends on\n  <time datetime="{certificate.not_after.isoformat()}' in text
            assert "ready to promote: confirm or cancel it" in text


def test_the_request_of_a_rotation_is_left_to_it(admin_client: Client) -> None:
    """Its page leads to the rotation, and neither installs nor deletes; pages of the host say so too."""
    host = plain_host()
    made = request_certificate(host=host, wish=Wish(common_name="orders"), user=None)
    chain_pem = signed_by(NEW_CA, made.csr)
    rotation = rotate_to_signed_certificate(request=made, chain_pem=chain_pem, user=None)
    url = reverse("admin:hosts_certificate_request", args=[host.pk, made.pk])
    delete_url = reverse("admin:hosts_certificate_request_delete", args=[host.pk, made.pk])
    text = page(admin_client, url)
    assert page_url(rotation) in text
    assert "Its certificate is tried" in text
    assert delete_url not in text
    assert url in page(admin_client, page_url(rotation))
    assert "tries its certificate" in page(admin_client, reverse("admin:hosts_host_client_certificate", args=[host.pk]))
    assert "In a rotation" in page(admin_client, reverse("admin:hosts_host_change", args=[host.pk]))
    for response in (
        admin_client.post(delete_url, follow=True),
        admin_client.post(url, {"certificate": chain_pem}, follow=True),
    ):
        assert "wait for its end, or cancel it first" in response.content.decode()
    cancel(rotation=again(rotation), user=None)
    assert delete_url in page(admin_client, url)


def test_cancelling_and_probing_again(admin_client: Client) -> None:
    """Both by a POST."""
    rotation = staged(plain_host(), is_manual=True)
    do(admin_client, rotation, "probe")
    assert again(rotation).state == "staged"
    do(admin_client, rotation, "cancel")
    assert again(rotation).state == "cancelled"


def test_who_may_only_look(client: Client) -> None:
    """Sees how it stands, and changes nothing; the local CA issues for who may issue."""
    host = plain_host()
    rotation = staged(host, is_manual=True)
    user = User.objects.create_user("viewer", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_host"]))
    client.force_login(user)
    assert "Confirm and put in use" not in page(client, page_url(rotation))
    assert "Stage this certificate" not in page(client, list_url(host))
    assert client.post(page_url(rotation), {"do": "confirm"}).status_code == 403
    assert client.post(list_url(host), uploaded()).status_code == 403
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_host", "change_host"]))
    assert client.post(list_url(host), {"issue": "1"}).status_code == 403
    other = reverse("admin:hosts_rotation", args=[rotation.pk, rotation.pk])
    assert client.get(other).status_code == 404


def test_hosts_are_rotated_together(admin_client: Client) -> None:
    """Each that presents a certificate gets a rotation of its own; what stands in the way is said of the host."""
    first, second, plain = plain_host("first"), plain_host("second"), make_host("plain")
    staged(second)
    selected = {"action": "rotate_selected", "_selected_action": [first.pk, second.pk, plain.pk]}
    text = admin_client.post(reverse("admin:hosts_host_changelist"), selected, follow=True).content.decode()
    assert "Began 1 rotation:" in text
    assert "1 without a client certificate in use" in text
    assert "second: The rotation" in text
    assert first.rotations.get().source == "issued"
    assert not plain.rotations.exists()


def test_rotating_hosts_together_takes_the_right_to_issue(client: Client) -> None:
    """The action is not offered without it, and nothing happens when it is asked for all the same."""
    host = plain_host()
    user = User.objects.create_user("operator", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_host", "change_host"]))
    client.force_login(user)
    assert "rotate_selected" not in page(client, reverse("admin:hosts_host_changelist"))
    client.post(reverse("admin:hosts_host_changelist"), {"action": "rotate_selected", "_selected_action": [host.pk]})
    assert not Rotation.objects.exists()
