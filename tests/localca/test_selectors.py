"""Questions about the local CA."""

import pytest

from localca.hierarchy import create_intermediate, create_root
from localca.models import CertificateAuthority
from localca.retirement import retire_authority
from localca.selectors import active_authority, family_of, leafs_of, trust_anchors, trust_anchors_pem
from localca.services import ensure_authority, issue_client_certificate

pytestmark = pytest.mark.django_db


def test_the_active_ca() -> None:
    """None before the first run, then the one that issues; a retired one is not it."""
    assert active_authority() is None
    authority = ensure_authority()
    assert active_authority() == authority
    CertificateAuthority.objects.update(is_active=False)
    assert active_authority() is None


def test_who_is_trusted() -> None:
    """The root of the CA that issues comes first; one that is retired is not trusted any more."""
    assert trust_anchors() == ()
    old = ensure_authority()
    new = create_root(user=None)
    intermediate = create_intermediate(user=None)
    assert trust_anchors() == (new, old)
    assert trust_anchors_pem() == new.certificate_pem + old.certificate_pem
    assert family_of(new) == (new, intermediate)
    retire_authority(authority=old, user=None)
    assert trust_anchors() == (new,)


def test_what_a_ca_has_issued() -> None:
    """By itself, or with those beneath it."""
    root = ensure_authority()
    first = issue_client_certificate(common_name="first").record
    create_intermediate(user=None)
    second = issue_client_certificate(common_name="second").record
    assert list(leafs_of(root)) == [first]
    assert set(leafs_of(*family_of(root))) == {first, second}
