"""Certificates of another CA for a host: Aegis makes the key, offers its request, and takes what was signed for it.

Laws of this module:
- The key is opened twice: to sign its own request when it is made, and to be installed with its certificate. No export,
  answer, page or entry of the audit log has it.
- Whatever is wrong with a certificate, the request stays as it is, to be answered by a better one.
- The request of a rotation stays until the certificate is in use for good (`hosts.rotation.transitions`), so that one
  that was cancelled or rolled back can be tried again. Until the rotation is over, nobody answers or deletes it.
"""

import datetime

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import transaction
from django.utils import timezone

from aegis_site.kernel.audit.actor import Actor
from aegis_site.kernel.audit.recording import changing
from aegis_site.kernel.errors import AegisError
from aegis_site.kernel.fields import Sealed
from hosts.audit import CERTIFICATE_REQUESTS
from hosts.downstream_tls import common_name_of
from hosts.models import Host
from hosts.rotation.models import OPEN, Rotation, RotationSource
from hosts.rotation.selectors import open_rotation
from hosts.rotation.services import RotationConflict, stage
from hosts.services import install_pair
from localca.keys import generate_key, key_to_pem
from upstream_tls.certificate_requests import Wish, check_signed, content_of, sign_request
from upstream_tls.changes import UpstreamTLSChanges
from upstream_tls.models import REQUEST_KEPT_FOR, CertificateRequest
from upstream_tls.tls.credentials import key_spki_sha256

# Of one host at a time: enough for two CAs and a second attempt with each.
MAX_PENDING = 5

# What the audit log says of a host that got a certificate of another CA.
INSTALLED = "installed"


class TooManyPending(AegisError):
    """A host waits for as many certificates as it may."""


def default_common_name(host: Host) -> str:
    """The name that a certificate for this host has unless somebody chooses another. One query."""
    return common_name_of(host, [domain.name for domain in host.domains.all()])


def request_certificate(*, host: Host, wish: Wish, user: Actor | None) -> CertificateRequest:
    """Make a key and the signing request for it. Raises ValidationError, TooManyPending, Host.DoesNotExist."""
    content = content_of(wish)
    _check_room(host)
    key = generate_key(wish.key_type)  # RSA takes seconds: before the transaction
    request = CertificateRequest(
        host=host,
        key=Sealed.of(key_to_pem(key)),
        key_spki_sha256=key_spki_sha256(key),
        csr=sign_request(content, key),
        created_by=user.get_username() if user is not None else "",
    )
    with transaction.atomic():
        _lock(host)
        _check_room(host)
        with changing(CERTIFICATE_REQUESTS, [request.pk], user=user):
            request.save(force_insert=True)
    return request


@transaction.atomic
def install_signed_certificate(*, request: CertificateRequest, chain_pem: str, user: Actor | None) -> list[str]:
    """Install what the CA signed, with the key that waited for it; enable mTLS; forget the request.

    `chain_pem` is the leaf with its intermediates. Returns what was put right in the chain. Raises ValidationError
    (`certificate`), SecretUnreadable, CertificateRequest.DoesNotExist, RotationConflict (`request_in_rotation`).
    """
    stored = _answered(request, chain_pem)
    with changing(CERTIFICATE_REQUESTS, [stored.pk], user=user):
        notices = install_pair(
            host=stored.host, chain_pem=chain_pem, key_pem=stored.key.reveal(), action=INSTALLED, user=user
        )
        CertificateRequest.objects.filter(pk=stored.pk).delete()
    return notices


@transaction.atomic
def rotate_to_signed_certificate(
    *, request: CertificateRequest, chain_pem: str, is_manual: bool = False, user: Actor | None
) -> Rotation:
    """As `install_signed_certificate`, in the steps of a rotation: what upstreams refuse is never put in use.

    The request is forgotten when the certificate is in use for good. Raises as that, and RotationConflict
    (`rotation_open`).
    """
    stored = _answered(request, chain_pem)
    pair = UpstreamTLSChanges(client_certificate=chain_pem, client_key=stored.key.reveal().decode("ascii"))
    try:
        return stage(
            host=stored.host,
            pair=pair,
            source=RotationSource.SIGNED,
            certificate_request=stored,
            is_manual=is_manual,
            user=user,
        )
    except ValidationError as error:
        raise ValidationError({"certificate": _problems(error)}) from error


@transaction.atomic
def delete_certificate_request(*, request: CertificateRequest, user: Actor | None) -> None:
    """Forget a request with its key: a certificate that is signed for it later is of no use.

    Raises RotationConflict (`request_in_rotation`).
    """
    # A host that is gone has taken its requests along.
    Host.objects.select_for_update().only("pk").filter(pk=request.host_id).first()
    _check_in_no_rotation(request)
    with changing(CERTIFICATE_REQUESTS, [request.pk], user=user):
        CertificateRequest.objects.filter(pk=request.pk).delete()


@transaction.atomic
def forget_old_requests(*, now: datetime.datetime) -> None:
    """Forget those that nobody answered within `REQUEST_KEPT_FOR`, and that no open rotation tries."""
    tried = Rotation.objects.filter(state__in=OPEN, certificate_request__isnull=False).values("certificate_request")
    old = CertificateRequest.objects.filter(created_at__lt=now - REQUEST_KEPT_FOR).exclude(pk__in=tried)
    identifiers = list(old.values_list("pk", flat=True))
    with changing(CERTIFICATE_REQUESTS, identifiers, user=None):
        CertificateRequest.objects.filter(pk__in=identifiers).delete()


def _answered(request: CertificateRequest, chain_pem: str) -> CertificateRequest:
    """The request with its host, held, when the chain answers it."""
    _lock(request.host)
    stored = CertificateRequest.objects.select_related("host").get(pk=request.pk)
    _check_in_no_rotation(stored)
    check_signed(chain_pem, key_spki_sha256=stored.key_spki_sha256, now=timezone.now())
    return stored


def _check_in_no_rotation(request: CertificateRequest) -> None:
    found = open_rotation(request.host_id)
    if found is not None and found.certificate_request_id == request.pk:
        message = (
            f"The rotation {found.pk} tries the certificate of this request: wait for its end, or cancel it first."
        )
        raise RotationConflict("request_in_rotation", message)


def _problems(error: ValidationError) -> list[ValidationError]:
    fields = error.error_dict if hasattr(error, "error_dict") else {NON_FIELD_ERRORS: error.error_list}
    return [problem for problems in fields.values() for problem in problems]


def _lock(host: Host) -> None:
    Host.objects.select_for_update().only("pk").get(pk=host.pk)


def _check_room(host: Host) -> None:
    if CertificateRequest.objects.filter(host=host).count() >= MAX_PENDING:
        message = f"This host waits for {MAX_PENDING} certificates already: install or delete one first."
        raise TooManyPending("too_many_pending", message)
