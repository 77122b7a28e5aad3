"""A new host, step by step, in the admin: the addresses, and who may come there.

Laws of this module: looking is a GET and changes nothing; whatever changes or tests is a POST with a CSRF token. Both
are for who may make and change hosts. What a step does is in `hosts.wizard.pages`.
"""

import uuid

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters

from aegis_site.kernel.admin import action
from hosts.certificate_admin import ClientCertificateAdmin
from hosts.connection_tests import latest_tests
from hosts.models import Host
from hosts.wizard.forms import SECRET_PARAMETERS
from hosts.wizard.pages import PAGES, DomainsPage, step_url
from hosts.wizard.steps import Step, can_be_taken, first_open


class WizardAdmin(ClientCertificateAdmin):
    """To be mixed into the admin of hosts."""

    actions_list = ["set_up_new"]

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<uuid:host_id>/set-up/", view(self.set_up_view), name="hosts_host_set_up"),
            path("<uuid:host_id>/set-up/<slug:step>/", view(self.set_up_step_view), name="hosts_host_set_up_step"),
            *super().get_urls(),
        ]

    def has_set_up_permission(self, request: HttpRequest) -> bool:
        """The first step makes a host, the others change it: who could not go on does not begin."""
        return bool(self.has_add_permission(request) and self.has_change_permission(request))

    @action(description="New host, step by step", permissions=["set_up"], icon="checklist", url_path="set-up")
    def set_up_new(self, request: HttpRequest) -> HttpResponse:
        """The first step; a POST makes the host."""
        return DomainsPage(self, request, Step.DOMAINS, Host()).answer()

    def set_up_view(self, request: HttpRequest, host_id: uuid.UUID) -> HttpResponse:
        """Leads to the step at which to go on."""
        host = self._host_to_set_up(request, host_id)
        return HttpResponseRedirect(step_url(host, first_open(host, latest_tests(host))))

    @method_decorator(sensitive_post_parameters(*SECRET_PARAMETERS))
    def set_up_step_view(self, request: HttpRequest, host_id: uuid.UUID, step: str) -> HttpResponse:
        """One step; a POST does what it is there for."""
        host = self._host_to_set_up(request, host_id)
        if step not in list(Step):
            raise Http404("no such step")
        if not can_be_taken(Step(step), host):
            if host.enabled:
                self.message_user(request, "The host is live: its editor is the place for changes.", messages.INFO)
            return HttpResponseRedirect(step_url(host, first_open(host, latest_tests(host))))
        return PAGES[Step(step)](self, request, Step(step), host).answer()

    def _host_to_set_up(self, request: HttpRequest, host_id: uuid.UUID) -> Host:
        if not self.has_set_up_permission(request):
            raise PermissionDenied
        host: Host | None = self.get_object(request, str(host_id))
        if host is None:
            raise Http404("no such host")
        return host
