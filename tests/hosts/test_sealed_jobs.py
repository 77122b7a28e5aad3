"""sealed_jobs: what a connection test is to try, and nobody else can read."""

import dataclasses

import pytest

from aegis_site.kernel.keyring import SecretUnreadable
from hosts.sealed_jobs import Job, open_job, seal_job
from tests.hosts.examples import CA, LEAF
from upstream_tls.tls.spec import UpstreamTLSSpec

SPEC = UpstreamTLSSpec(
    client_chain_pem=LEAF.chain_pem.encode(),
    client_key_pem=LEAF.key_pem.encode(),
    ca_pem=CA.pem.encode(),
    skip_verify=True,
    server_name="orders.internal",
    verify_name="spiffe://example.org/orders",
    min_version="TLSv1.3",
    ciphers="ECDHE+AESGCM",
    alpn=(),
    crl_pem=b"-----BEGIN X509 CRL-----\xff",
    pinned_spki_sha256=("ab" * 32,),
    verify_depth=2,
)


@pytest.mark.parametrize("spec", [UpstreamTLSSpec(), SPEC], ids=["default", "everything"])
def test_a_job_comes_back_as_it_was(spec: UpstreamTLSSpec) -> None:
    """Every value with its type."""
    job = Job(spec=spec, host_field="orders.internal:9443")
    place = b"hosts.connectiontest|job|1"
    assert open_job(seal_job(job).sealed_for(place)) == job


def test_the_example_changes_every_value() -> None:
    """So that a new field of the spec cannot be forgotten here."""
    unchanged = [
        field.name
        for field in dataclasses.fields(SPEC)
        if getattr(SPEC, field.name) == getattr(UpstreamTLSSpec(), field.name)
    ]
    assert unchanged == ["max_version"]


def test_a_job_is_sealed() -> None:
    """Neither its row nor a repr shows the key, and it opens in its own row only."""
    sealed = seal_job(Job(spec=SPEC, host_field="a")).sealed_for(b"here")
    canary = LEAF.key_pem.splitlines()[1]
    assert canary.encode() not in sealed.blob
    assert canary not in repr(sealed) + repr(Job(spec=SPEC, host_field="a"))
    with pytest.raises(SecretUnreadable):
        open_job(type(sealed)(blob=sealed.blob, place=b"there"))
