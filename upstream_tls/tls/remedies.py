"""What each code means for the person in front of it: cause, fix, and the field to change.

Laws of this module: texts only. `{words}` are filled in by `diagnosis` from the evidence. A fix is an instruction and
names what is to be changed where. Fields are names of the API's `upstream_tls`; empty: it is not set there.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Remedy:
    """Cause and fix of one code."""

    cause: str
    fix: str
    field: str = ""


_INSTALL_OUR_CA = (
    "Install the CA certificate that issued the client certificate on the upstream as a trusted client CA; for Aegis's"
    " own CA it is aegis-local-ca.crt in the trust bundle."
)
_LOOK_INTO_LOG = (
    "Look into the upstream's error log: it has the reason, and says which CA it trusts (nginx: client SSL certificate"
    " verify error). "
)
_ON_THE_UPSTREAM = "Re-issue the upstream's certificate"

REMEDIES = {
    # The upstream's certificate, judged by us
    "unknown_authority": Remedy(
        "Nobody who is trusted here has signed the certificate {subject} ({position}). Its issuer is {issuer}{key_id},"
        " and {trust} does not hold it.",
        "Add the CA certificate of {issuer} to CA Certificate.",
        "ca_certificate",
    ),
    "self_signed": Remedy(
        "The upstream's certificate {subject} is self-signed, and {trust} does not hold it.",
        "Add this very certificate (SHA-256 {fingerprint}) to CA Certificate. Or skip verification and pin its key:"
        " {pin}.",
        "ca_certificate",
    ),
    "missing_intermediate": Remedy(
        "The upstream sent its own certificate {subject} alone. It was issued by the intermediate {issuer}{key_id},"
        " which the upstream has to send as well.",
        "Let the upstream send the intermediate: put it behind the certificate in the file that the upstream serves."
        " Adding the intermediate to CA Certificate helps as well.",
        "ca_certificate",
    ),
    "expired": Remedy(
        "The certificate {subject} ({position}) was valid until {not_after}. The clock of Aegis says {now}.",
        "Renew the upstream's certificate. If it is still good, set the clock of Aegis.",
    ),
    "not_yet_valid": Remedy(
        "The certificate {subject} ({position}) is valid from {not_before}. The clock of Aegis says {now}.",
        "Check both clocks, that of Aegis and that of the CA which issued the certificate.",
    ),
    "name_mismatch": Remedy(
        "The upstream's certificate is for {names}, and {expected} was asked for.",
        "Set {name_field_label} to one of {names}, or re-issue the upstream's certificate for {expected}.",
        "{name_field}",
    ),
    "ip_mismatch": Remedy(
        "The upstream is addressed as {expected}, and its certificate does not hold this IP address. It holds"
        " {dns_names}.",
        "Set Server Name Override to a name in the certificate ({dns_names}), or re-issue the certificate with the IP"
        " address in it.",
        "{name_field}",
    ),
    "no_subject_alt_name": Remedy(
        "The upstream's certificate {subject} has no subject alternative name. Common names do not count (RFC 9525).",
        _ON_THE_UPSTREAM + " with {expected} as subject alternative name. Or skip verification and pin its key: {pin}.",
        "skip_verify",
    ),
    "wrong_purpose": Remedy(
        "The certificate {subject} ({position}) is not made for servers: its extended key usage lacks serverAuth.",
        _ON_THE_UPSTREAM + " with the usage serverAuth.",
    ),
    "weak_key": Remedy(
        "The key of the certificate {subject} ({position}) is too small.",
        _ON_THE_UPSTREAM + " with RSA 2048 or EC P-256 at least.",
    ),
    "weak_signature": Remedy(
        "The certificate {subject} ({position}) is signed with a broken hash.",
        _ON_THE_UPSTREAM + " signed with SHA-256.",
    ),
    "revoked": Remedy(
        "The revocation list that is configured names the certificate {subject} ({position}).",
        "Replace the upstream's certificate. If it was not meant to be revoked, upload the CA's current list.",
        "crl",
    ),
    "crl_unavailable": Remedy(
        "Revocation lists are configured, and none of them is of {issuer}, which issued {subject} ({position}).",
        "Upload a current list of each CA in the chain, or remove all lists.",
        "crl",
    ),
    "crl_expired": Remedy(
        "The revocation list of {issuer} is over: its CA should have published the next one.",
        "Upload a current list of each CA in the chain, or remove all lists.",
        "crl",
    ),
    "chain_invalid": Remedy(
        "OpenSSL refuses the certificate {subject} ({position}), issued by {issuer}: X509_V_ERR number {verify_code}.",
        "Look at this certificate in the chain below, and re-issue it.",
    ),
    "pin_mismatch": Remedy(
        "The upstream's key is {pin}, and the pinned keys are {pins}. It was renewed with a new key, or something else"
        " answers at this address.",
        "Find out which. If the new key is right, put it into Pinned keys.",
        "pinned_spki_sha256",
    ),
    # Our certificate, judged by the upstream
    "client_certificate_required": Remedy(
        "The upstream demands a client certificate, and {sent}.{acceptable}",
        "Enable mTLS and configure client certificate and key. If one is configured, compare its issuer with the CA"
        " names that the upstream accepts.",
        "client_certificate",
    ),
    "client_certificate_untrusted": Remedy(
        "The upstream does not know the CA that issued our certificate {ours}, issued by {our_issuer}.{acceptable}",
        _INSTALL_OUR_CA + " If an intermediate issued it, put that behind the client certificate.",
        "client_certificate",
    ),
    "client_certificate_bad": Remedy(
        "The upstream does not take our certificate {ours}, issued by {our_issuer}.{acceptable}",
        _INSTALL_OUR_CA
        + " Check that the certificate has the usage clientAuth (Go complains of a wrong one like this).",
        "client_certificate",
    ),
    "client_certificate_expired": Remedy(
        "The upstream says that our certificate {ours}, or its own list of revoked certificates, is expired.",
        "Renew the client certificate. If it is still valid, the upstream's revocation list is stale or its clock is"
        " wrong.",
        "client_certificate",
    ),
    "client_certificate_revoked": Remedy(
        "The upstream's revocation list names our certificate {ours}.",
        "Issue a new client certificate.",
        "client_certificate",
    ),
    "client_certificate_wrong_purpose": Remedy(
        "Our certificate {ours} is not made for clients: its extended key usage lacks clientAuth.",
        "Re-issue the client certificate with the usage clientAuth.",
        "client_certificate",
    ),
    "client_certificate_rejected": Remedy(
        "The upstream refused our certificate {ours}, issued by {our_issuer}{how}.{acceptable}",
        _LOOK_INTO_LOG + _INSTALL_OUR_CA,
        "client_certificate",
    ),
    # Protocol
    "protocol_version": Remedy(
        "The upstream and Aegis have no TLS version in common.",
        "Widen the TLS versions of this host, or enable TLS 1.2 or 1.3 on the upstream.",
        "min_version",
    ),
    "handshake_failure": Remedy(
        "The upstream and Aegis have no cipher, curve or signature algorithm in common.",
        "Empty the cipher list of this host, and enable modern ciphers on the upstream (ECDHE with AES-GCM; P-256).",
        "ciphers",
    ),
    "alpn_mismatch": Remedy(
        "The upstream and Aegis have no protocol in common that both speak. Aegis speaks HTTP/1.1 to upstreams.",
        "Set ALPN to http/1.1, or to nothing, and enable HTTP/1.1 on the upstream.",
        "alpn",
    ),
    "unrecognized_name": Remedy(
        "The upstream does not serve the name that was asked for, {expected}{misdirected}.",
        "Set Server Name Override to a name that the upstream serves, and make sure that Preserve Host Header is off in"
        " the host's settings.",
        "server_name",
    ),
    "not_tls": Remedy(
        "What answers at {address} does not speak TLS. Perhaps this port speaks plain HTTP.",
        "Set the upstream's scheme to http, or its port to the one that speaks TLS.",
    ),
    "tls_alert": Remedy(
        "The upstream ended the handshake with an alert that says nothing about certificates.",
        _LOOK_INTO_LOG.rstrip(),
    ),
    "malformed_response": Remedy(
        "What the upstream answered is not HTTP/1.1, or its head does not end.",
        "Correct the upstream's port, or let the upstream speak HTTP/1.1 there.",
    ),
    # Transport
    "connection_refused": Remedy(
        "Nobody listens at {address}.", "Start the upstream, or correct its address and port."
    ),
    "connection_reset": Remedy(
        "The upstream, or a firewall before it, cut the connection off {stage}.",
        "Check that the port is that of the TLS service, and look into the upstream's log.",
    ),
    "connection_closed": Remedy(
        "The upstream closed the connection {stage}.",
        "Check that the port is that of the TLS service, and look into the upstream's log.",
    ),
    "timeout": Remedy(
        "The upstream was not done within {timeout} {stage}.",
        "Check that the upstream is up and answers, and that no firewall drops packets to {address}.",
    ),
    "dns_failure": Remedy("The name {address} has no address.", "Correct the upstream's address, or the DNS."),
    "unreachable": Remedy(
        "There is no route to {address}.", "Correct the upstream's address, or the network between it and Aegis."
    ),
    "connect_failed": Remedy(
        "The connection to {address} failed with error number {errno}.", "Correct the upstream's address and port."
    ),
    # Our own configuration
    "client_certificate_not_after": Remedy(
        "Our own client certificate {ours} is over since {our_not_after}. The clock of Aegis says {now}.",
        "Issue or upload a new client certificate.",
        "client_certificate",
    ),
}

# A problem of the configuration says itself what is wrong; this is what to do about it.
CONFIGURATION_FIXES = {
    "client_certificate_missing": "Configure client certificate and key, or switch mTLS off.",
    "key_mismatch": "Upload the key that belongs to the client certificate, or the certificate of this key.",
    "key_encrypted": "Upload the key again together with its passphrase.",
    "key_wrong_passphrase": "Upload the key again together with its right passphrase.",
    "pem_swapped": "Certificate and key are in each other's place: swap them.",
    "weak_key": "Issue a new client certificate with RSA 2048 or EC P-256 at least.",
}
