"""From an order to what a certificate will say."""

import datetime

import pytest
import time_machine
from cryptography import x509
from django.core.exceptions import ValidationError

from localca.models import Purpose
from localca.orders import Order, content_of, content_of_successor
from localca.profiles import LEAF_VALIDITY
from localca.services import ensure_authority, issue_certificate, issue_client_certificate
from localca.signing_requests import read_signing_request
from tests.support.signing_requests import signing_request

pytestmark = pytest.mark.django_db

DAY = datetime.timedelta(days=1)


def test_all_errors_at_once() -> None:
    """Each at its field."""
    order = Order(purpose=Purpose.SERVER, common_name="", validity_days=0, issued_for="a\nb")
    with pytest.raises(ValidationError) as raised:
        content_of(order, None, authority=ensure_authority())
    codes = {field: problems[0].code for field, problems in raised.value.error_dict.items()}
    assert codes == {
        "common_name": "required",
        "subject_alt_names": "required",
        "validity_days": "out_of_range",
        "issued_for": "invalid",
    }


def test_the_usual_validity() -> None:
    """397 days when nobody asks for anything else; what is asked for otherwise."""
    authority = ensure_authority()
    order = Order(purpose=Purpose.CLIENT, common_name="orders")
    assert content_of(order, None, authority=authority).validity == LEAF_VALIDITY
    longer = Order(purpose=Purpose.CLIENT, common_name="orders", validity_days=825)
    assert content_of(longer, None, authority=authority).validity == 825 * DAY


def test_a_validity_that_the_ca_cannot_grant() -> None:
    """What is asked for is granted in full or refused; what is usual ends with the CA."""
    authority = ensure_authority()
    with time_machine.travel(authority.facts.not_after - 10 * DAY, tick=False):
        order = Order(purpose=Purpose.CLIENT, common_name="orders", validity_days=11)
        with pytest.raises(ValidationError) as raised:
            content_of(order, None, authority=authority)
        assert raised.value.error_dict["validity_days"][0].code == "beyond_authority"
        record = issue_client_certificate(common_name="orders").record
    assert record.not_after == authority.facts.not_after


def test_names_come_from_a_request_only_when_asked_for() -> None:
    """And only where the order has none."""
    request = read_signing_request(signing_request(common_name="theirs", names=[x509.DNSName("theirs.example.com")]))
    authority = ensure_authority()
    ours = content_of(Order(purpose=Purpose.CLIENT, common_name="ours"), request, authority=authority)
    assert (ours.common_name, ours.names) == ("ours", [x509.DNSName("ours")])
    order = Order(purpose=Purpose.SERVER, common_name="ours", csr="-", names_from_csr=True)
    mixed = content_of(order, request, authority=authority)
    assert (mixed.common_name, mixed.names) == ("ours", [x509.DNSName("theirs.example.com")])


def test_bad_names_of_a_request_are_the_requests_fault() -> None:
    """A name of an unsupported kind is an error at `csr`."""
    request = read_signing_request(signing_request(names=[x509.RFC822Name("a@example.com")]))
    order = Order(purpose=Purpose.CLIENT, csr="-", names_from_csr=True)
    with pytest.raises(ValidationError) as raised:
        content_of(order, request, authority=ensure_authority())
    assert list(raised.value.error_dict) == ["csr"]


def test_a_successor_says_the_same() -> None:
    """Names, purpose, note and length of validity; also of a certificate that ended with its CA."""
    order = Order(purpose=Purpose.CLIENT, common_name="Orders, backend", validity_days=3, issued_for="note")
    old = issue_certificate(order=order, user=None).record
    content = content_of_successor(old)
    assert (content.purpose, content.common_name, content.issued_for) == ("client", "Orders, backend", "note")
    assert content.names == [x509.UniformResourceIdentifier(old.pk.urn)]
    assert content.validity == 3 * DAY
    assert content.renewed_from == old
    assert content.record_id != old.pk
