"""Rotations in the admin: the page that begins one and lists those of a host, and the page of one rotation.

Laws of this module: looking is a GET by who may view the host and changes nothing; every step is a POST with a CSRF
token by who may change the host. No page holds a private key.
"""

import time
import uuid
from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from unfold.admin import ModelAdmin

from aegis_site.kernel.admin import action
from aegis_site.kernel.errors import AegisError
from aegis_site.kernel.throttling import count_test
from hosts.models import Host
from hosts.rotation.forms import SECRET_PARAMETERS, RotationForm
from hosts.rotation.judging import Verdict
from hosts.rotation.models import BEFORE_PROMOTION, Rotation, RotationState
from hosts.rotation.renewal import due_at, held_up
from hosts.rotation.selectors import open_rotation, rotations_of
from hosts.rotation.services import cancel, confirm, issue, probe_again, promote_refused, stage
from hosts.rotation.transitions import text_of
from hosts.upstream_setup_admin import ISSUE_PERMISSION
from upstream_tls.panels import certificates_panel

ROTATIONS_PER_PAGE = 20
REFRESH_S = 2
# A new RSA key takes seconds, and the web server gives an answer thirty.
ROTATE_SELECTED_WITHIN_S = 20.0

STATE_BADGES = {
    RotationState.STAGED: "info",
    RotationState.PROBING: "info",
    RotationState.READY: "warning",
    RotationState.REFUSED: "danger",
    RotationState.WATCHING: "info",
    RotationState.DRAINING: "success",
    RotationState.DONE: "success",
    RotationState.ROLLED_BACK: "danger",
    RotationState.CANCELLED: "warning",
    RotationState.FAILED: "danger",
}
_VERDICT_BADGES = {
    Verdict.ADMITTED: ("success", "Admitted"),
    Verdict.REFUSED: ("danger", "Refused"),
    Verdict.FAILING: ("danger", "Fails either way"),
    Verdict.NOT_TESTED: ("warning", "Not tested"),
}


class RotationAdmin(ModelAdmin):
    """To be mixed into the admin of hosts."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.rotation_view)
        return [
            path("<uuid:host_id>/rotations/<uuid:rotation_id>/", view, name="hosts_rotation"),
            *super().get_urls(),
        ]

    @action(description="Rotate certificate", permissions=["view"], icon="sync_lock", url_path="rotations")
    @method_decorator(sensitive_post_parameters(*SECRET_PARAMETERS))
    def rotations(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The rotations of a host; a POST begins one."""
        host = self.get_object(request, object_id)
        if host is None:
            raise Http404("no such host")
        form = RotationForm()
        if request.method == "POST":
            if not self.has_change_permission(request, host):
                raise PermissionDenied
            form = RotationForm(request.POST, request.FILES)
            rotation = self._issue(request, host) if "issue" in request.POST else self._stage(request, host, form)
            if rotation is not None:
                return HttpResponseRedirect(_url(rotation))
            if "issue" in request.POST:
                form = RotationForm()
        return TemplateResponse(request, "hosts/rotations.html", self._rotations_context(request, host, form))

    def rotation_view(self, request: HttpRequest, host_id: uuid.UUID, rotation_id: uuid.UUID) -> HttpResponse:
        """How one rotation stands, step by step; a POST takes the step that a person has to take."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        rotations = rotations_of(host_id).select_related("host", "requested_by")
        rotation = get_object_or_404(rotations, pk=rotation_id)
        if request.method == "POST":
            if not self.has_change_permission(request, rotation.host):
                raise PermissionDenied
            self._do(request, rotation)
            return HttpResponseRedirect(_url(rotation))
        return TemplateResponse(request, "hosts/rotation.html", self._rotation_context(request, rotation))

    def has_rotate_permission(self, request: HttpRequest) -> bool:
        return self.has_change_permission(request) and request.user.has_perm(ISSUE_PERMISSION)

    @action(description="Rotate to a new certificate of the local CA", permissions=["rotate"], icon="sync_lock")
    def rotate_selected(self, request: HttpRequest, queryset: QuerySet[Host]) -> None:
        """For each of these hosts that present a certificate, such as after a change of the CA."""
        try:
            count_test(request.user.pk)
        except AegisError as error:
            self.message_user(request, error.message, messages.ERROR)
            return
        begun, until = 0, time.monotonic() + ROTATE_SELECTED_WITHIN_S
        hosts = list(queryset.select_related("upstream_tls").defer("upstream_tls__client_key"))
        presenting = [host for host in hosts if host.upstream_configuration.enabled]
        for number, host in enumerate(presenting):
            if time.monotonic() > until:
                left = len(presenting) - number
                self.message_user(request, f"Time is over with {left} hosts left: repeat it for them.", messages.ERROR)
                break
            try:
                issue(host=host, user=request.user)
                begun += 1
            except (AegisError, ValidationError) as error:
                self.message_user(request, f"{host}: {text_of(error)}", messages.ERROR)
        if others := len(hosts) - len(presenting):
            self.message_user(request, f"{others} without a client certificate in use: left alone.", messages.WARNING)
        if begun:
            text = f"Began {begun} rotation{'' if begun == 1 else 's'}: what an upstream refuses is not put in use."
            self.message_user(request, text, messages.SUCCESS)

    def _stage(self, request: HttpRequest, host: Host, form: RotationForm) -> Rotation | None:
        if not form.is_valid():
            return None
        try:
            count_test(request.user.pk)
            return stage(host=host, pair=form.pair, is_manual=form.cleaned_data["is_manual"], user=request.user)
        except ValidationError as error:
            form.refuse(error)
        except AegisError as error:
            self.message_user(request, error.message, messages.ERROR)
        return None

    def _issue(self, request: HttpRequest, host: Host) -> Rotation | None:
        if not request.user.has_perm(ISSUE_PERMISSION):
            raise PermissionDenied
        try:
            count_test(request.user.pk)
            return issue(host=host, is_manual="is_manual" in request.POST, user=request.user)
        except (AegisError, ValidationError) as error:
            self.message_user(request, text_of(error), messages.ERROR)
        return None

    def _do(self, request: HttpRequest, rotation: Rotation) -> None:
        user, reason = request.user, request.POST.get("override_reason", "")
        steps: dict[str, Callable[[], Rotation]] = {
            "confirm": lambda: confirm(rotation=rotation, user=user),
            "probe": lambda: probe_again(rotation=rotation, user=user),
            "promote": lambda: promote_refused(rotation=rotation, reason=reason, user=user),
            "cancel": lambda: cancel(rotation=rotation, user=user),
        }
        step = steps.get(request.POST.get("do", ""))
        if step is None:
            self.message_user(request, "Nothing was chosen.", messages.ERROR)
            return
        try:
            count_test(request.user.pk)
            step()
        except (AegisError, ValidationError) as error:
            self.message_user(request, text_of(error), messages.ERROR)

    def _rotations_context(self, request: HttpRequest, host: Host, form: RotationForm) -> dict[str, Any]:
        page = Paginator(rotations_of(host.pk), ROTATIONS_PER_PAGE).get_page(request.GET.get("page"))
        configuration = host.upstream_configuration
        return {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": host,
            "title": f"Rotations of {host}",
            "form": form,
            "fields": [form[name] for name in form.fields if name != "is_manual"],
            "in_use": certificates_panel(configuration.client_certificate_facts[:1], now=timezone.now())
            if configuration.enabled
            else "",
            "open": open_rotation(host.pk),
            "held_up": held_up_renewal(host.pk),
            "page": page,
            "rows": [(rotation, badge_of(rotation)) for rotation in page],
            "may_rotate": self.has_change_permission(request, host),
            "may_issue": request.user.has_perm(ISSUE_PERMISSION),
        }

    def _rotation_context(self, request: HttpRequest, rotation: Rotation) -> dict[str, Any]:
        now = timezone.now()
        return {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": rotation.host,
            "title": f"Rotation of {rotation.host}",
            "rotation": rotation,
            "badge": badge_of(rotation),
            "candidate": certificates_panel(rotation.candidate_facts, now=now),
            "previous": certificates_panel(rotation.previous_facts[:1], now=now),
            "steps": [_step_view(step) for step in rotation.steps],
            "probes": [(probe, _VERDICT_BADGES[Verdict(probe["verdict"])]) for probe in rotation.probes],
            "may_rotate": self.has_change_permission(request, rotation.host),
            "may_cancel": rotation.state in BEFORE_PROMOTION,
            "held_up": held_up_renewal(rotation.host_id) if rotation.is_stuck else None,
            # A page on which a person may act must not lose what the person has begun to write.
            "refresh_s": None if rotation.is_over or rotation.is_stuck else REFRESH_S,
        }


def held_up_renewal(host_id: uuid.UUID) -> dict[str, Any] | None:
    """What the pages of a host say of its renewal when that waits for a rotation."""
    due = held_up(host_id, now=timezone.now())
    if due is None or due.waits_for is None:
        return None
    return {"rotation": due.waits_for, "since": due_at(due.certificate), "until": due.certificate.not_after}


def badge_of(rotation: Rotation) -> tuple[str, str]:
    """A badge's kind and text."""
    state = RotationState(rotation.state)
    return STATE_BADGES[state], str(state.label)


def _step_view(step: dict[str, Any]) -> dict[str, Any]:
    state = RotationState(step["state"])
    return {**step, "at": parse_datetime(step["at"]), "kind": STATE_BADGES[state], "label": str(state.label)}


def _url(rotation: Rotation) -> str:
    return reverse("admin:hosts_rotation", args=[rotation.host_id, rotation.pk])
