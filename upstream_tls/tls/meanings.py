"""What a code means and what to do about it when its evidence is gone, as with the failures of traffic.

Laws of this module: texts only, for the codes of `remedies`. The fix is that of a diagnosis, in general words; who
needs names and fingerprints runs Test Connection.
"""

from dataclasses import dataclass

from upstream_tls.tls.remedies import REMEDIES


@dataclass(frozen=True, slots=True)
class Meaning:
    """Cause and fix of one code."""

    cause: str
    fix: str


_CAUSES = {
    # The upstream's certificate, judged by us
    "unknown_authority": "Nobody who is trusted here has signed the upstream's certificate.",
    "self_signed": "The upstream's certificate is self-signed and not among the trusted ones.",
    "missing_intermediate": "The upstream does not send the intermediate that issued its certificate.",
    "expired": "A certificate of the upstream's chain has expired, or the clock of Aegis is wrong.",
    "not_yet_valid": "A certificate of the upstream's chain is not valid yet, or the clock of Aegis is wrong.",
    "name_mismatch": "The upstream's certificate is for other names than the one that was asked for.",
    "ip_mismatch": "The upstream is addressed by an IP address that its certificate does not hold.",
    "no_subject_alt_name": "The upstream's certificate has no subject alternative name. Common names do not count.",
    "wrong_purpose": "The upstream's certificate is not made for servers: it lacks serverAuth.",
    "weak_key": "A key in the upstream's chain is too small.",
    "weak_signature": "A certificate of the upstream's chain is signed with a broken hash.",
    "revoked": "The configured revocation list names a certificate of the upstream's chain.",
    "crl_unavailable": "There is no revocation list of a CA in the upstream's chain.",
    "crl_expired": "A configured revocation list is over.",
    "chain_invalid": "OpenSSL refuses the upstream's chain.",
    "pin_mismatch": "The upstream's key is none of the pinned ones.",
    # Our certificate, judged by the upstream
    "client_certificate_required": "The upstream demands a client certificate and got none that it takes.",
    "client_certificate_untrusted": "The upstream does not know the CA that issued our client certificate.",
    "client_certificate_bad": "The upstream does not take our client certificate.",
    "client_certificate_expired": "The upstream says that our client certificate, or its revocation list, has expired.",
    "client_certificate_revoked": "The upstream's revocation list names our client certificate.",
    "client_certificate_wrong_purpose": "Our client certificate is not made for clients: it lacks clientAuth.",
    "client_certificate_rejected": "The upstream refused our client certificate.",
    "client_certificate_not_after": "Our own client certificate has expired.",
    # Protocol
    "protocol_version": "The upstream and Aegis have no TLS version in common.",
    "handshake_failure": "The upstream and Aegis have no cipher, curve or signature algorithm in common.",
    "alpn_mismatch": "The upstream and Aegis have no protocol in common that both speak.",
    "unrecognized_name": "The upstream does not serve the name that was asked for.",
    "not_tls": "What answers there does not speak TLS.",
    "tls_alert": "The upstream ended the handshake with an alert that says nothing about certificates.",
    "malformed_response": "What the upstream answered is not HTTP/1.1, or its end cannot be told for certain.",
    # Transport
    "connection_refused": "Nobody listens at the upstream's address and port.",
    "connection_reset": "The upstream, or a firewall before it, cut the connection off.",
    "connection_closed": "The upstream closed the connection too early.",
    "timeout": "The upstream was not done within the time allowed.",
    "dns_failure": "The upstream's name has no address.",
    "unreachable": "There is no route to the upstream.",
    "connect_failed": "The connection to the upstream failed.",
}

_GENERAL_WORDS = {
    "address": "the upstream",
    "dns_names": "Test Connection shows them",
    "expected": "the name that is asked for",
    "fingerprint": "shown by Test Connection",
    "issuer": "its issuer",
    "name_field_label": "Server Name Override",
    "names": "the names in the certificate",
    "pin": "shown by Test Connection",
}


def meaning_of(code: str) -> Meaning | None:
    """Cause and fix in general words; None for a code that says it all."""
    if code not in _CAUSES:
        return None
    return Meaning(cause=_CAUSES[code], fix=REMEDIES[code].fix.format_map(_GENERAL_WORDS))
