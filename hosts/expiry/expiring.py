"""One thing that ends, in one place where it is used.

Laws of this module: no queries. What is said of a role is said here once: the page, the API, the alerts and the gauge
have their words and steps from `ABOUT`.
"""

import datetime
import uuid
from typing import NamedTuple

from django.db import models

from aegis_site.kernel.notifications.events import admin_page_of, host_group
from hosts.models import Host

# Days before the end at which one is told; on the last, and when it is over, again.
EXPIRY_DAYS = (0, 1, 7, 14, 30)
# Lists live for days or weeks: thirty days before its end there may be no later one yet.
UPLOADED_LIST_DAYS = (0, 1, 3)
# The local CA makes a new list every day, which is good for seven (`localca.revocation`). Whatever has fewer than two
# left was not replaced for four days.
LOCAL_LIST_DAYS = (0, 2)

LOCAL_CA_GROUP = "localca"


class Role(models.TextChoices):
    """What it is for whoever uses it. A chain is what comes along with a leaf."""

    CLIENT = "client", "Client certificate"
    CLIENT_CHAIN = "client_chain", "Intermediate of the client certificate"
    CA_ROOT = "ca_root", "CA certificate"
    CA_INTERMEDIATE = "ca_intermediate", "CA certificate (intermediate)"
    REVOCATION_LIST = "revocation_list", "Revocation list"
    SERVER = "server", "Certificate for clients"
    SERVER_CHAIN = "server_chain", "Intermediate of the certificate for clients"
    UPSTREAM = "upstream", "Upstream's certificate"
    UPSTREAM_CHAIN = "upstream_chain", "Intermediate of the upstream"
    LOCAL_CA = "local_ca", "Local CA"
    LOCAL_REVOCATION_LIST = "local_revocation_list", "Revocation list of the local CA"
    GIVEN_REVOCATION_LIST = "given_revocation_list", "Revocation list of a CA whose key is elsewhere"
    ISSUED = "issued", "Issued certificate that no host uses"


# Those whose holder has the key.
LEAVES = frozenset((Role.CLIENT, Role.SERVER, Role.UPSTREAM))


class About(NamedTuple):
    """Of a role: the subject of "… expires within 7 days", what to do about it, and when to be told (days left)."""

    title: str
    fix: str
    days: tuple[int, ...] = EXPIRY_DAYS


ABOUT: dict[Role, About] = {
    Role.CLIENT: About(
        "The client certificate of {owner}",
        "Have the local CA issue a new one, or upload one, in the host's upstream TLS.",
    ),
    Role.CLIENT_CHAIN: About(
        "An intermediate of the client certificate of {owner}",
        "Upload the client certificate with the newer intermediate of its issuer.",
    ),
    Role.CA_ROOT: About(
        "A CA certificate of {owner}",
        "Get the next one from the upstream's operator and add it to the bundle; both may stand there meanwhile.",
    ),
    Role.CA_INTERMEDIATE: About(
        "A CA certificate of {owner}",
        "Get the next one from the upstream's operator and add it to the bundle; both may stand there meanwhile.",
    ),
    Role.REVOCATION_LIST: About(
        "A revocation list of {owner}",
        "Upload the CA's newer list: with one that is over, the upstream's certificate is refused.",
        UPLOADED_LIST_DAYS,
    ),
    Role.SERVER: About(
        "The certificate that clients see of {owner}",
        "Have the local CA issue a new one, or upload one, in the host's downstream TLS.",
    ),
    Role.SERVER_CHAIN: About(
        "An intermediate of the certificate that clients see of {owner}",
        "Upload the certificate with the newer intermediate of its issuer.",
    ),
    Role.UPSTREAM: About(
        "The certificate of the upstream {upstream} of {owner}",
        "The upstream's operator renews it. If that is done, test the connection: this is what was seen last.",
    ),
    Role.UPSTREAM_CHAIN: About(
        "An intermediate of the upstream {upstream} of {owner}",
        "The upstream's operator replaces it. If that is done, test the connection: this is what was seen last.",
    ),
    Role.LOCAL_CA: About(
        "{owner}",
        "Create the next one in time: whoever trusts this one has to trust that one before this one is over.",
    ),
    Role.LOCAL_REVOCATION_LIST: About(
        "The revocation list of {owner}",
        "A new one is made every day: see whether Celery's worker and beat run, and whether the CA's key opens.",
        LOCAL_LIST_DAYS,
    ),
    Role.GIVEN_REVOCATION_LIST: About(
        "The revocation list of {owner}",
        "Get the next one from whoever has the CA's key, and give it on the CA's page: without it, upstreams that "
        "check whole chains refuse every client.",
        UPLOADED_LIST_DAYS,
    ),
    Role.ISSUED: About(
        "The issued certificate {subject}",
        "Renew it for whoever has it, or revoke it if nobody does.",
    ),
}


class Expiring(NamedTuple):
    """One thing that ends; a fleet has thousands, hence a tuple.

    `owner` is the name of the host or of the CA, for an issued certificate what it was issued for; `model` and `pk` are
    the row to act on. `subject` is an RFC 4514 string, of a list its issuer's. `upstream` is address and port of the
    upstream that showed it and `seen_at` when; both are empty for what is stored here.
    """

    not_after: datetime.datetime
    owner: str
    role: Role
    subject: str
    fingerprint_sha256: str
    model: type[models.Model]
    pk: uuid.UUID
    upstream: str = ""
    seen_at: datetime.datetime | None = None

    @property
    def page(self) -> str:
        """Where the admin shows the row to act on."""
        return admin_page_of(self.model, self.pk)

    @property
    def group(self) -> str:
        """What it is told together with."""
        return host_group(self.pk) if self.model is Host else LOCAL_CA_GROUP

    @property
    def title(self) -> str:
        """The subject of "… expires within 7 days"."""
        return ABOUT[self.role].title.format(owner=self.owner, upstream=self.upstream, subject=self.subject)

    @property
    def known_by(self) -> str:
        """How it is known that this is what is used."""
        if self.seen_at is None:
            return "stored"
        return f"seen by the connection test of {self.seen_at:%Y-%m-%d %H:%M} UTC"

    def days_left(self, now: datetime.datetime) -> int:
        """Whole days; negative when it is over."""
        return (self.not_after - now).days


class Horizon(models.TextChoices):
    """How far away an end is; each one begins where the one before it ends."""

    EXPIRED = "expired", "Expired"
    WEEK = "7_days", "Within 7 days"
    MONTH = "30_days", "Within 30 days"
    QUARTER = "90_days", "Within 90 days"
    LATER = "later", "Later"


HORIZON_DAYS = {Horizon.EXPIRED: 0, Horizon.WEEK: 7, Horizon.MONTH: 30, Horizon.QUARTER: 90}


def horizon_of(not_after: datetime.datetime, now: datetime.datetime) -> Horizon:
    """How far away this end is."""
    left = not_after - now
    found = (horizon for horizon, days in HORIZON_DAYS.items() if left <= datetime.timedelta(days=days))
    return next(found, Horizon.LATER)
