"""What is said about certificates that work only half."""

import datetime
import time
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from tests.support.certificates import Authority
from tests.support.odd_certificates import DAY, ROOT_OF_OLD, SIGNED_WITH_SHA1, certificate, revocation_list
from upstream_tls.tls.lint import LintWarning, lint

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
ROOT = Authority("Orders CA")
ISSUING = Authority("Issuing CA", parent=ROOT)
LEAF = ISSUING.client("orders").certificate
CLIENT_AUTH = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
SERVER_AUTH = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
KEY_USAGE = x509.KeyUsage(False, False, True, False, False, False, False, False, False)
ISSUER_ADDRESS = x509.AuthorityInformationAccess(
    [
        x509.AccessDescription(
            AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier("http://ca.example/issuer.crt")
        )
    ]
)
BASIC_CA = x509.BasicConstraints(ca=True, path_length=None)
WEAK_KEY = rsa.generate_private_key(65537, 1024)  # noqa: S505 (that is the point)


def odd(**parts: Any) -> x509.Certificate:
    return certificate(**{"common_name": "odd", "issuer": ROOT, "now": NOW, **parts})


def codes(**parts: Any) -> list[tuple[str, str]]:
    return [(warning.code, warning.field) for warning in lint(now=NOW, **parts)]


def only(**parts: Any) -> LintWarning:
    (warning,) = lint(now=NOW, **parts)
    return warning


def test_nothing_is_said_about_good_certificates() -> None:
    """A whole chain, one straight from a private root, its CA and its list; and nothing at all."""
    assert lint(now=NOW) == ()
    assert lint(chain=(LEAF, ISSUING.certificate), ca_bundle=(ROOT.certificate,), now=NOW) == ()
    assert lint(chain=(ROOT.client().certificate,), known=(ROOT.certificate,), now=NOW) == ()
    assert lint(chain=(odd(extensions=[CLIENT_AUTH]),), now=NOW) == ()
    crls = (revocation_list(ROOT, now=NOW),)
    assert lint(ca_bundle=(ROOT.certificate, ROOT_OF_OLD), now=NOW, crls=()) == ()
    assert lint(ca_bundle=(ROOT.certificate,), crls=crls, now=NOW) == ()


def test_no_client_auth_says_what_each_server_does() -> None:
    """The words of the documentation."""
    assert only(chain=(odd(extensions=[SERVER_AUTH]),)) == LintWarning(
        "no_client_auth",
        "client_certificate",
        "The certificate's extended key usage lacks clientAuth. OpenSSL backends answer it with alert 43 (unsupported "
        "certificate), Go with alert 42 (bad certificate), Node closes silently, nginx answers HTTP 400. Have it "
        "issued again with clientAuth.",
    )


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ({"extensions": [KEY_USAGE]}, "no_digital_signature"),
        ({"extensions": [BASIC_CA]}, "ca_as_leaf"),
        ({"key": WEAK_KEY}, "weak_key"),
        ({"not_after": -DAY / 2}, "expired"),
        ({"not_after": 29 * DAY}, "expires_soon"),
        ({"not_before": DAY}, "not_yet_valid"),
    ],
)
def test_each_fault_of_a_leaf_has_its_code(parts: dict[str, Any], code: str) -> None:
    """One fault, one warning, at the client certificate."""
    warning = only(chain=(odd(**parts),))
    assert (warning.code, warning.field) == (code, "client_certificate")
    assert len(warning.message) > 60


@pytest.mark.parametrize(
    ("not_before", "not_after", "expected"),
    [
        (-DAY, 30 * DAY, []),
        (-DAY, 30 * DAY - DAY / 24, ["expires_soon"]),
        (-DAY, 0 * DAY, ["expires_soon"]),
        (-2 * DAY, -DAY / 24, ["expired"]),
        (0 * DAY, 90 * DAY, []),
        (DAY, 2 * DAY, ["expires_soon", "not_yet_valid"]),
    ],
)
def test_validity_at_its_edges(
    not_before: datetime.timedelta, not_after: datetime.timedelta, expected: list[str]
) -> None:
    """Thirty days count as soon; the last second is still valid."""
    chain = (odd(not_before=not_before, not_after=not_after),)
    assert [warning.code for warning in lint(chain=chain, now=NOW)] == expected


def test_the_moment_is_named_and_not_the_days_left() -> None:
    """The same text every day, so that a representation does not change by itself."""
    chain = (odd(not_after=10 * DAY),)
    texts = {lint(chain=chain, now=NOW + days * DAY)[0].message for days in (0, 3, 9)}
    assert len(texts) == 1
    assert f"{NOW + 10 * DAY:%Y-%m-%d %H:%M} UTC" in texts.pop()


def test_a_missing_intermediate_is_certain_when_it_is_at_hand() -> None:
    """It stands in the CA bundle or in the local CA, and not in the chain."""
    for parts in ({"ca_bundle": (ISSUING.certificate, ROOT.certificate)}, {"known": (ISSUING.certificate,)}):
        warning = only(chain=(LEAF,), **parts)
        assert warning.code == "missing_intermediate"
        assert "The intermediate CN=Issuing CA is missing" in warning.message
        assert "alert 48" in warning.message


def test_a_missing_intermediate_is_likely_when_the_issuer_can_be_fetched() -> None:
    """Roots rarely say where they can be fetched; a private root says nothing and causes no warning."""
    chain = (odd(extensions=[ISSUER_ADDRESS]),)
    assert "looks like an intermediate" in only(chain=chain).message
    assert lint(chain=chain, known=(ROOT.certificate,), now=NOW) == ()


def test_hosts_that_share_a_certificate_are_named() -> None:
    """The first three, and how many more."""
    chain = (odd(),)
    assert "by orders-2 too" in only(chain=chain, others=("orders-2",)).message
    assert "by a, b, c and 2 more too" in only(chain=chain, others=("a", "b", "c", "d", "e")).message


def test_a_leaf_in_the_bundle_is_allowed_and_explained() -> None:
    """Pinning works until the upstream renews."""
    warning = only(ca_bundle=(ROOT.certificate, ROOT.server("orders.internal").certificate))
    assert (warning.code, warning.field) == ("leaf_as_ca", "ca_certificate")
    assert warning.message.startswith("CN=orders.internal: not a CA certificate.")


def test_duplicates_in_the_bundle() -> None:
    """Once for all of them."""
    bundle = (ROOT.certificate, ISSUING.certificate, ROOT.certificate, ROOT.certificate)
    assert codes(ca_bundle=bundle) == [("duplicate_certificate", "ca_certificate")]


def test_weak_signatures_count_below_the_root_only() -> None:
    """Nobody checks the signature of what is trusted as it stands."""
    assert ("weak_signature", "ca_certificate") in codes(ca_bundle=(SIGNED_WITH_SHA1,))
    assert codes(ca_bundle=(ROOT_OF_OLD,)) == []
    assert ("weak_signature", "client_certificate") in codes(chain=(LEAF, SIGNED_WITH_SHA1))


def test_many_expired_authorities_are_one_warning() -> None:
    """A bundle of all public CAs must not fill the page."""
    bundle = [odd(common_name=f"CA {number}", extensions=[BASIC_CA], not_after=-DAY / 2) for number in range(9)]
    assert "CN=CA 0, CN=CA 1, CN=CA 2 and 6 more: expired on" in only(ca_bundle=bundle).message


def test_revocation_lists() -> None:
    """Of another CA, out of date, and missing for a CA of the bundle."""
    other = Authority("Orders CA")  # the same name with another key
    fresh, stale = revocation_list(ROOT, now=NOW), revocation_list(ROOT, now=NOW - 30 * DAY)
    assert codes(ca_bundle=(ROOT.certificate,), crls=(stale,)) == [("crl_expired", "crl")]
    assert codes(ca_bundle=(ROOT.certificate,), crls=(fresh, revocation_list(other, now=NOW))) == [
        ("crl_of_other_ca", "crl")
    ]
    warning = only(ca_bundle=(ROOT.certificate, ISSUING.certificate), crls=(fresh,))
    assert warning.code == "crl_missing"
    assert warning.message.startswith("CN=Issuing CA: no list of this CA.")


def test_a_large_bundle_is_judged_at_once() -> None:
    """500 certificates take well under a second."""
    bundle = [odd(common_name=f"CA {number}", extensions=[BASIC_CA]) for number in range(500)]
    started = time.process_time()
    lint(chain=(LEAF,), ca_bundle=bundle, crls=(revocation_list(ROOT, now=NOW),), now=NOW)
    assert time.process_time() - started < 1
