"""The page "Upstream setup" of a host: what to install on its upstreams, and whether they do their part.

Laws of this module: looking is a GET by who may view the host and shows nothing secret; trying an upstream is a POST
with a CSRF token by who may change the host, and stores nothing but what connection tests store.
"""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from unfold.admin import ModelAdmin

from aegis_site.kernel.admin import action
from aegis_site.kernel.downloads import attachment
from aegis_site.kernel.errors import AegisError
from aegis_site.kernel.throttling import count_test
from hosts.connection_tests import first_upstream, one_upstream
from hosts.enforcement import EnforcementResult, Verdict, prove_enforcement
from hosts.models import Host, Scheme, Upstream
from hosts.snippets import UpstreamSetup, setup_for
from localca.bundle import CERTIFICATE_MEDIA_TYPE
from upstream_tls.panels import certificates_panel

ISSUE_PERMISSION = "localca.add_issuedcertificate"


class UpstreamSetupAdmin(ModelAdmin):
    """To be mixed into the admin of hosts."""

    actions_detail = ["upstream_setup"]

    @action(description="Upstream setup", permissions=["view"], icon="assignment_turned_in", url_path="upstream-setup")
    def upstream_setup(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The page; with `?file=` a file of it; a POST proves enforcement and shows the page with the result."""
        host = self.get_object(request, object_id)
        if host is None:
            raise Http404("no such host")
        setup = setup_for(host)
        if "file" in request.GET:
            return _download(setup, request.GET["file"])
        result = self._prove(request, host) if request.method == "POST" else None
        return TemplateResponse(request, "hosts/upstream_setup.html", self._setup_context(request, host, setup, result))

    def _prove(self, request: HttpRequest, host: Host) -> EnforcementResult | None:
        if not self.has_change_permission(request, host):
            raise PermissionDenied
        try:
            count_test(request.user.pk)
            return prove_enforcement(
                host=host,
                upstream=_chosen(host, request.POST.get("upstream", "")),
                user=request.user,
                may_issue=request.user.has_perm(ISSUE_PERMISSION),
            )
        except AegisError as error:
            self.message_user(request, error.message, messages.ERROR)
            return None

    def _setup_context(
        self, request: HttpRequest, host: Host, setup: UpstreamSetup | None, result: EnforcementResult | None
    ) -> dict[str, Any]:
        upstreams = [upstream for upstream in host.upstreams.all() if upstream.scheme == Scheme.HTTPS]
        return {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": host,
            "title": f"Upstream setup of {host}",
            "setup": setup,
            "certificate": certificates_panel([setup.facts], now=timezone.now()) if setup else "",
            "result": result,
            "badge": _badge(result) if result else None,
            "upstreams": upstreams,
            "chosen": request.POST.get("upstream", ""),
            "may_prove": bool(
                setup and upstreams and host.upstream_tls.enabled and self.has_change_permission(request, host)
            ),
        }


def _chosen(host: Host, upstream_id: str) -> Upstream:
    """The upstream of this id, else the first enabled one. Raises NothingToTest."""
    upstreams = list(host.upstreams.all())
    named = [upstream for upstream in upstreams if str(upstream.pk) == upstream_id]
    return (one_upstream(named[0]) if named else first_upstream(upstreams))[0]


def _download(setup: UpstreamSetup | None, file_name: str) -> HttpResponse:
    for file in setup.files if setup else ():
        if file.file_name == file_name and file.text:
            return attachment(file.text, media_type=CERTIFICATE_MEDIA_TYPE, file_name=file.file_name)
    raise Http404("no such file")


def _badge(result: EnforcementResult) -> tuple[str, str]:
    """A badge's kind and text."""
    match result.verdict:
        case Verdict.ENFORCED if result.other_refused is False:
            return "warning", "Enforced for the CA, not for this host alone"
        case Verdict.ENFORCED:
            return "success", "Enforced"
        case Verdict.NOT_ENFORCED:
            return "danger", "Not enforced"
    return "warning", "Inconclusive"
