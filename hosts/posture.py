"""How a host stands towards its upstreams and its clients: identity, trust, names, versions, expiry, exceptions.

Laws of this module:
- What is configured comes from the rows, what is really spoken from the last connection test of the host as saved; the
  document says when that was and whether the host was changed since. Nothing is guessed.
- A fixed number of queries for any number of hosts; what is stored of certificates is parsed once.
- No secret is in a document: of keys only fingerprints and types.
"""

import datetime
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any, TypeAlias

from cryptography import x509

from aegis_site.kernel.certificates import CertificateFacts
from hosts.connection_tests import last_tests_of_upstreams
from hosts.models import ConnectionTest, Host, Scheme, Upstream
from hosts.posture_findings import findings_of
from upstream_tls.models import UpstreamTLSConfiguration
from upstream_tls.selectors import host_names_by_key, local_authorities
from upstream_tls.stored import stored_facts
from upstream_tls.tls.names import is_ip_address

Document: TypeAlias = dict[str, Any]


def postures(hosts: Sequence[Host], *, now: datetime.datetime) -> list[Document]:
    """The posture of each host, in order. Three queries when the hosts come `with_configuration`."""
    report = _Report(hosts, now)
    return [report.of(host) for host in hosts]


class _Report:
    """What the documents of several hosts share."""

    def __init__(self, hosts: Sequence[Host], now: datetime.datetime) -> None:
        self._hosts = hosts
        self._now = now

    def of(self, host: Host) -> Document:
        """The posture of one of them."""
        configuration = host.upstream_configuration
        document = {
            "id": str(host.pk),
            "name": host.name,
            "enabled": host.enabled,
            "mtls": self._mtls(configuration),
            "verification": self._verification(configuration),
            "names": {"server_name": configuration.server_name, "verify_name": configuration.verify_name},
            "versions": {
                "min_version": configuration.min_version,
                "max_version": configuration.max_version,
                "ciphers": configuration.ciphers,
                "alpn": configuration.alpn,
            },
            "upstreams": [self._upstream(host, upstream) for upstream in host.upstreams.all()],
            "downstream": {
                "certificate": self._leaf(host.downstream_configuration.certificate),
                "force_https": host.downstream_configuration.force_https,
            },
            "exceptions": _exceptions(host, configuration, self._now),
        }
        findings = findings_of(document, host=host, sharing=self._sharing, known=self._authorities, now=self._now)
        return {**document, "findings": [asdict(finding) for finding in findings]}

    def _mtls(self, configuration: UpstreamTLSConfiguration) -> Document:
        """The identity is what is presented: a pair that is stored and not enabled is none."""
        identity = self._leaf(configuration.client_certificate) if configuration.enabled else None
        return {"enabled": configuration.enabled, "identity": identity}

    def _verification(self, configuration: UpstreamTLSConfiguration) -> Document:
        # Past the end date the workers verify by themselves, also when nobody has ended the exception.
        if configuration.is_verification_skipped(self._now):
            verified_by = "nothing"
        else:
            verified_by = "ca_certificate" if configuration.ca_certificate else "system_trust_store"
        return {
            "verified_by": verified_by,
            "ca_certificates": [self._certificate(facts) for facts in configuration.ca_certificate_facts],
            "pinned_spki_sha256": configuration.pinned_spki_sha256,
            "revocation_lists": [
                {"issuer": crl.issuer.rfc4514_string(), "next_update": _text(crl.next_update_utc)}
                for crl in configuration.revocation_lists
            ],
            "verify_depth": configuration.verify_depth,
        }

    def _upstream(self, host: Host, upstream: Upstream) -> Document:
        server_name, verify_name = _effective_names(host.upstream_configuration, upstream)
        test = self._tests.get(upstream.pk)
        return {
            "id": str(upstream.pk),
            "scheme": upstream.scheme,
            "address": upstream.address,
            "port": upstream.port,
            "enabled": upstream.enabled,
            "server_name": server_name,
            "verify_name": verify_name,
            "last_test": self._test(test, host) if test and upstream.scheme == Scheme.HTTPS else None,
        }

    def _test(self, test: ConnectionTest, host: Host) -> Document:
        result: Mapping[str, Any] = test.result or {}
        tls = result["tls"] or {}
        leaf = result["chain"][0] if result["chain"] else None
        names = ("subject", "issuer", "serial_number", "fingerprint_sha256", "key_type", "not_before", "not_after")
        return {
            "tested_at": result["tested_at"],
            "is_current": test.created_at >= host.updated_at,
            "success": result["success"],
            "verified": result["verified"],
            "code": test.code,
            "tls_version": tls.get("version"),
            "cipher": tls.get("cipher"),
            "alpn": tls.get("alpn"),
            "client_certificate_requested": tls.get("client_certificate_requested"),
            "client_certificate_sent": tls.get("client_certificate_sent"),
            "http_status": result["http"]["status"] if result["http"] else None,
            "leaf": {**{name: leaf[name] for name in names}, "days_left": self._days_left(leaf)} if leaf else None,
        }

    def _days_left(self, leaf: Mapping[str, Any]) -> int | None:
        """None: the upstream's certificate has a time that cannot be read."""
        if leaf["not_after"] is None:
            return None
        return (datetime.datetime.fromisoformat(leaf["not_after"]) - self._now).days

    def _leaf(self, chain_pem: str) -> Document | None:
        facts = stored_facts(chain_pem)
        return self._certificate(facts[0]) if facts else None

    def _certificate(self, facts: CertificateFacts) -> Document:
        return {
            "subject": facts.subject,
            "issuer": facts.issuer,
            "serial_number": facts.serial_number,
            "fingerprint_sha256": facts.fingerprint_sha256,
            "key_type": facts.key_type,
            "not_before": _text(facts.not_before),
            "not_after": _text(facts.not_after),
            "days_left": (facts.not_after - self._now).days,
        }

    @cached_property
    def _tests(self) -> dict[uuid.UUID, ConnectionTest]:
        return last_tests_of_upstreams([host.pk for host in self._hosts])

    @cached_property
    def _sharing(self) -> dict[str, list[str]]:
        return host_names_by_key(host.upstream_configuration for host in self._hosts)

    @cached_property
    def _authorities(self) -> tuple[x509.Certificate, ...]:
        return local_authorities()


def _effective_names(configuration: UpstreamTLSConfiguration, upstream: Upstream) -> tuple[str, str]:
    """What is sent as SNI and what is looked for in the upstream's certificate; nothing of either without TLS."""
    if upstream.scheme != Scheme.HTTPS:
        return "", ""
    # TLS has no server name for addresses (RFC 6066 section 3).
    own = "" if is_ip_address(upstream.address) else upstream.address
    server_name = configuration.server_name or own
    return server_name, configuration.verify_name or configuration.server_name or upstream.address


def _exceptions(host: Host, configuration: UpstreamTLSConfiguration, now: datetime.datetime) -> list[Document]:
    """Where the host does without what Aegis is for."""
    found: list[Document] = []
    if configuration.is_verification_skipped(now):
        found.append(
            {
                "kind": "skip_verify",
                "by": configuration.skip_verify_by,
                "reason": configuration.skip_verify_reason,
                "since": _text(configuration.skip_verify_since),
                "until": _text(configuration.skip_verify_until),
                "upstreams": [],
            }
        )
    if plain := [str(upstream) for upstream in host.upstreams.all() if upstream.scheme == Scheme.HTTP]:
        nobody = {"by": "", "reason": "", "since": None, "until": None}
        found.append({"kind": "plain_http", **nobody, "upstreams": plain})
    return found


def _text(moment: datetime.datetime | None) -> str | None:
    """As connection tests write it: RFC 3339 in UTC."""
    return None if moment is None else moment.astimezone(datetime.UTC).isoformat().replace("+00:00", "Z")
