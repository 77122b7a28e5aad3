"""All members of the zoo."""

from upstream_tls.zoo import our_certificates, their_certificates, wire
from upstream_tls.zoo.member import Member

ALL = (*their_certificates.MEMBERS, *our_certificates.MEMBERS, *wire.MEMBERS)


def members() -> tuple[Member, ...]:
    """Every member, the good ones first. Makes no certificates and opens no socket."""
    return ALL
