"""What a generated document lacks to be accepted: values that fit together, which JSON Schema has no words for.

Laws of this module: only what is in a document is changed or dropped, but for what another member of it demands; each
value is one of several, by the number of the request.
"""

import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from django.utils import timezone

from hosts.models import Host, Upstream
from hosts.services import update_host
from hosts.specs import HostSpec
from localca.models import CertificateAuthority
from localca.revocation_lists import build_revocation_list
from localca.services import ensure_authority
from tests.hosts.examples import CA, LEAF, OTHER_LEAF, SITE, make_host, mtls
from tests.support.certificates import Authority
from tests.support.signing_requests import signed_by, signing_request
from upstream_tls.models import CertificateRequest

Body = dict[str, Any]

CSR = signing_request(names=[x509.DNSName("from-csr.example")])
PIN = "ab" * 32
_PAIR = {"client_certificate": LEAF.chain_pem, "client_key": LEAF.key_pem}
_NEXT_PAIR = {"client_certificate": OTHER_LEAF.chain_pem, "client_key": OTHER_LEAF.key_pem}

# Of texts that need nothing else.
_UPSTREAM_TLS = {
    "ca_certificate": ("", CA.pem),
    "server_name": ("", "orders.internal"),
    "verify_name": ("", "orders.internal", "10.0.0.7", "2001:db8::7", "spiffe://example.org/orders"),
    "ciphers": ("", "ECDHE+AESGCM", "ECDHE-RSA-CHACHA20-POLY1305"),
    "skip_verify_reason": ("", "until the new certificate is there"),
    "crl": ("",),
}
_HEALTH_CHECK = {
    "path": ("/", "/health?deep=1"),
    "host_field": ("", "orders.example:8443", "[2001:db8::7]"),
    "expected_status": ("200-399", "200, 204,300-308"),
    "body_contains": ("", "ok", "état"),
}
_WISH = {
    "common_name": ("orders", "orders.example.com", "état"),
    "organization": ("", "Orders Ltd"),
    "organizational_unit": ("", "Shipping"),
    "country": ("", "DE", "fr"),
}
_SMTP = {
    "host": ("127.0.0.1",),
    "username": ("", "aegis"),
    "password": ("", "a password"),
    "from_address": ("aegis@example.com",),
    "ca_certificate": ("", CA.pem),
}
_ADDRESSES = ("10.0.0.7", "orders.internal", "2001:db8::7", "[2001:db8::8]", "orders_db")


def free_names(number: int) -> Body:
    return {"name": f"host {number}", "domains": [f"{number}.example", f"*.{number}.example"]}


def make_host_valid(body: Body, number: int) -> None:
    for name, value in free_names(number).items():
        if name in body:
            body[name] = value
    for upstream in body.get("upstreams", ()):
        upstream.pop("id", None)
        upstream["address"] = one_of(_ADDRESSES, number)
    if "upstream_tls" in body:
        make_upstream_tls_valid(body["upstream_tls"], number)
    if "downstream_tls" in body:
        _make_downstream_tls_valid(body["downstream_tls"])
    passive = body.get("passive_health", {})
    if {"backoff_s", "backoff_max_s"} & passive.keys():
        passive["backoff_s"] = passive["backoff_max_s"] = passive.get("backoff_s", 10)
    for direction in ("request_headers", "response_headers"):
        for position, rule in enumerate(body.get(direction, ())):
            _make_rule_valid(rule, position)
    if "health_check" in body:
        _make_health_check_valid(body["health_check"], number)


def make_upstream_tls_valid(tls: Body, number: int) -> None:
    _choose(tls, _UPSTREAM_TLS, number)
    if tls.get("enabled") or tls.keys() & {"client_certificate", "client_key", "client_pkcs12"}:
        tls |= _PAIR
    for name in ("client_pkcs12", "client_key_passphrase"):
        tls.pop(name, None)
    if not tls.get("skip_verify"):
        for name in ("skip_verify_reason", "skip_verify_until"):
            tls.pop(name, None)
    if tls.get("skip_verify_until"):
        tls["skip_verify_until"] = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)).isoformat()
    if tls.keys() & {"min_version", "max_version"}:
        tls["min_version"], tls["max_version"] = tls.get("min_version", "TLSv1.2"), "TLSv1.3"
    if "alpn" in tls:
        tls["alpn"] = [f"protocol/{position}" for position, _ in enumerate(tls["alpn"])]
    if "pinned_spki_sha256" in tls:
        tls["pinned_spki_sha256"] = [PIN for _ in tls["pinned_spki_sha256"]]


def _make_downstream_tls_valid(tls: Body) -> None:
    if tls.get("issue"):
        for name in ("certificate", "key"):
            tls.pop(name, None)
    elif tls:
        tls |= {"certificate": SITE.chain_pem, "key": SITE.key_pem}
    tls.pop("key_passphrase", None)


def _make_rule_valid(rule: Body, position: int) -> None:
    rule["name"] = f"X-Generated-{position}"
    if rule["action"] == "remove":
        rule.pop("value", None)
    else:
        rule["value"] = "a value"


def _make_health_check_valid(check: Body, number: int) -> None:
    _choose(check, _HEALTH_CHECK, number)
    if "headers" in check:
        check["headers"] = [{"name": f"X-Check-{position}", "value": "yes"} for position in range(number % 3)]
    if check.keys() & {"interval_s", "timeout_s"}:
        check["interval_s"] = max(check.get("interval_s", 10), 2)
        check["timeout_s"] = min(check.get("timeout_s", 1), check["interval_s"] - 1)


def make_test_valid(body: Body, number: int) -> None:
    """Of connections."""
    if "upstream_tls" in body:
        make_upstream_tls_valid(body["upstream_tls"], number)
    if body.get("all"):
        body.pop("upstream", None)


def name_upstream(body: Body, ids: Body, number: int) -> None:
    """One of that host, or none."""
    known = Upstream.objects.filter(host=ids["id"]).first()
    if known is None:
        body.pop("upstream", None)
    elif "upstream" in body:
        body["upstream"] = str(known.pk)


def make_revert_valid(body: Body, number: int) -> None:
    if "host_version" in body:
        body["host_version"] = first_host().updated_at.isoformat()


def make_host_revert_valid(body: Body, number: int) -> None:
    """To a time before a change."""
    host = first_host()
    update_host(host=host, spec=HostSpec(websockets=not host.websockets), user=None)
    body["to"] = host.created_at.isoformat()
    make_revert_valid(body, number)


def make_mute_valid(body: Body, number: int) -> None:
    if "until" in body:
        body["until"] = one_of(("2100-01-01T00:00:00Z", "2100-01-01T00:00:00.5+02:00"), number)


def make_order_valid(body: Body, number: int) -> None:
    body["common_name"] = f"client {number}"
    body["subject_alt_names"] = [f"DNS:{number}.example", "IP:10.0.0.7"]
    if "issued_for" in body:
        body["issued_for"] = one_of(("", "the orders service"), number)
    _make_key_wishes_valid(body, number)
    if "csr" not in body:
        body.pop("names_from_csr", None)
    elif "key_type" in body:
        del body["key_type"]
    if "key_type" in body:
        body["key_type"] = "EC P-256"  # made fast


def make_authority_valid(body: Body, number: int) -> None:
    if "common_name" in body:
        body["common_name"] = one_of(("", f"CA {number}"), number)
    if "crl_url" in body:
        body["crl_url"] = one_of(("", "http://aegis.example.com/crl"), number)


def make_authority_key_valid(body: Body, number: int) -> None:
    body["private_key"] = Authority().key_pem


def make_given_list_valid(body: Body, ids: Body, number: int) -> None:
    """Signed by the CA of the path; by ours, when that one's key is not here."""
    authority = CertificateAuthority.objects.filter(pk=ids["id"], private_key__isnull=False).first()
    if authority is None:
        authority = ensure_authority()
        ids["id"] = str(authority.pk)
    now = timezone.now().replace(microsecond=0)
    signed = build_revocation_list(
        issuer=authority.issuer(),
        number=number,
        revocations=(),
        this_update=now,
        next_update=now + datetime.timedelta(days=1),
    )
    body["crl"] = signed.public_bytes(Encoding.PEM).decode()


def make_authority_import_valid(body: Body, number: int) -> None:
    """A new one each time: one that is here already is refused."""
    root = Authority(f"Root {number}")
    issuing = Authority(f"Issuing CA {number}", parent=root)
    body["certificate"], body["private_key"] = issuing.pem, issuing.key_pem
    if "root_certificate" in body:
        body["root_certificate"] = root.pem
    else:
        body["certificate"] += root.pem
    make_authority_valid(body, number)


def make_choices_valid(body: Body, number: int) -> None:
    if "key_type" in body:
        body["key_type"] = "EC P-256"  # made fast


def make_wish_valid(body: Body, number: int) -> None:
    _choose(body, _WISH, number)
    if "subject_alt_names" in body:
        body["subject_alt_names"] = [f"DNS:{number}.example", "URI:spiffe://example.org/orders"][: number % 3]
    make_choices_valid(body, number)


def sign(body: Body, ids: Body, number: int) -> None:
    """What the request of the path asks for; of one that is not there, something that a CA could have signed."""
    waiting = CertificateRequest.objects.filter(pk=ids["request_id"]).first()
    body["certificate"] = signed_by(CA, waiting.csr) if waiting else LEAF.chain_pem


def make_renewal_valid(body: Body, number: int) -> None:
    _make_key_wishes_valid(body, number)


def _make_key_wishes_valid(body: Body, number: int) -> None:
    if "csr" in body and number % 2:
        body["csr"] = CSR
        for name in ("include_private_key", "passphrase", "format"):
            body.pop(name, None)
        return
    body.pop("csr", None)
    body["include_private_key"] = True
    if "passphrase" in body or body.get("format") == "pkcs12":
        body["passphrase"] = "correct horse"


def make_import_valid(body: Body, number: int) -> None:
    body["hosts"] = [{**free_names(number), "upstreams": [{"address": "10.0.0.7"}]}]
    body.pop("sealing", None)


def make_settings_valid(body: Body, number: int) -> None:
    general = body.get("general", {})
    if "site_name" in general:
        general["site_name"] = f"Aegis {number}"
    if "public_url" in general:
        general["public_url"] = one_of(("", "https://aegis.example.com"), number)
    if "smtp" in body:
        _make_smtp_valid(body["smtp"], number)
    if "recipients" in body.get("notifications", {}):
        body["notifications"]["recipients"] = [f"ops-{position}@example.com" for position in range(number % 4)]
    defaults = body.get("host_defaults", {})
    if defaults.keys() & {"min_version", "max_version"}:
        defaults["min_version"], defaults["max_version"] = defaults.get("min_version", "TLSv1.2"), "TLSv1.3"


def _make_smtp_valid(smtp: Body, number: int) -> None:
    # The stored password was for the server that was set before.
    smtp |= {"password": "", "host": "", "from_address": ""}
    _choose(smtp, _SMTP, number)
    if smtp.get("security", "none") == "none":
        smtp |= {"username": "", "password": ""}


def make_test_mail_valid(body: Body, number: int) -> None:
    body["to"] = "ops@example.com"
    body.setdefault("smtp", {})
    _make_smtp_valid(body["smtp"], number)


def make_what_if_valid(body: Body, number: int) -> None:
    host = first_host()
    body["change"] = one_of(
        (
            {"min_version": "TLSv1.3"},
            {"ca_certificate": CA.pem},
            {"replace_certificate": {"host": str(host.pk), **_PAIR}},
        ),
        number,
    )
    if "replace_certificate" in body["change"]:
        body.pop("hosts", None)
    if "hosts" in body:
        body["hosts"] = [str(host.pk)]


def make_rotation_valid(body: Body, number: int) -> None:
    body.clear()
    body |= {**_NEXT_PAIR, "manual": number % 2 == 0}


def make_override_valid(body: Body, number: int) -> None:
    body["override_reason"] = "the upstream is next"


def first_host() -> Host:
    """The one that paths name."""
    return Host.objects.order_by("created_at").first() or make_host("again", upstream_tls=mtls())


def _choose(body: Body, values: dict[str, tuple[str, ...]], number: int) -> None:
    body |= {name: one_of(choice, number) for name, choice in values.items() if name in body}


def one_of(choice: tuple[Any, ...], number: int) -> Any:
    return choice[number // 4 % len(choice)]
