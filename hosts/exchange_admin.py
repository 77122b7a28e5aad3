"""The page "Export / Import" of hosts.

Laws of this module: looking and the export without secrets are GETs by who may view hosts; whatever holds a passphrase
or changes hosts is a POST with a CSRF token. An import is shown first and done after it was confirmed; what is done is
decided in `hosts.exchange`.
"""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from rest_framework import exceptions
from unfold.admin import ModelAdmin

from aegis_site.kernel.admin import action
from aegis_site.kernel.downloads import attachment
from aegis_site.kernel.errors import AegisError
from aegis_site.kernel.problems import field_errors
from aegis_site.kernel.uploads import DOCUMENT_FIELD
from hosts.exchange.documents import export_document
from hosts.exchange.envelope import open_envelope
from hosts.exchange.exporting import EXPORT_SECRETS, export_sealed
from hosts.exchange.importing import ImportOptions, ImportResult, OnMissing, Outcome, finish, import_hosts
from hosts.exchange.kept_document import open_document, seal_document
from hosts.exchange.reading import Format, write_document
from hosts.exchange_forms import ImportForm, SealedExportForm
from hosts.models import Host

# More of them would be a page that nobody reads.
MAX_SHOWN_HOSTS = 200

_BADGES = {
    Outcome.CREATED: "success",
    Outcome.CHANGED: "info",
    Outcome.DELETED: "danger",
    Outcome.FAILED: "danger",
}
_MEDIA_TYPES = {Format.YAML: "application/yaml", Format.JSON: "application/json"}


class ExchangeAdmin(ModelAdmin):
    """To be mixed into the admin of hosts."""

    actions_list = ["exchange"]

    @action(description="Export / Import", permissions=["view"], icon="swap_vert", url_path="exchange")
    def exchange(self, request: HttpRequest) -> HttpResponse:
        """The page; with `?export=yaml` or `json` a download; its POSTs are an export with secrets and an import."""
        if request.method == "POST":
            return self._posted(request)
        if request.GET.get("export") in list(Format):
            return _download(export_document(Host.objects.with_configuration()), Format(request.GET["export"]))
        return self._page(request)

    @method_decorator(sensitive_post_parameters("export-passphrase", "passphrase", "token"))
    def _posted(self, request: HttpRequest) -> HttpResponse:
        if "export" in request.POST:
            return self._export_sealed(request)
        if not self._may_import(request):
            raise PermissionDenied
        return self._import(request) if "confirm" in request.POST else self._try(request)

    @transaction.atomic
    def _export_sealed(self, request: HttpRequest) -> HttpResponse:
        if not request.user.has_perm(EXPORT_SECRETS):
            raise PermissionDenied
        form = SealedExportForm(request.POST)
        if not form.is_valid():
            return self._page(request, export_form=form)
        hosts = list(Host.objects.with_configuration())
        # The admin's answers are never stored on their way.
        return _download(
            export_sealed(hosts, passphrase=form.cleaned_data["passphrase"], user=request.user), Format.YAML
        )

    def _try(self, request: HttpRequest) -> HttpResponse:
        """Shows what an import would do."""
        form = ImportForm(request.POST, request.FILES)
        if not form.is_valid():
            return self._page(request, import_form=form)
        document = form.cleaned_data[DOCUMENT_FIELD]
        if isinstance(document, dict) and form.cleaned_data["passphrase"]:
            document["passphrase"] = form.cleaned_data["passphrase"]
        on_missing = OnMissing(form.cleaned_data["on_missing"])
        try:
            result = self._run(request, document, on_missing, is_dry_run=True)
        except (AegisError, ValidationError, exceptions.ValidationError) as error:
            for text in _texts(error):
                form.add_error(None, text)
            return self._page(request, import_form=form)
        token = "" if result.count(Outcome.FAILED) else seal_document(document, user_id=request.user.pk)
        return self._page(request, result=result, token=token, on_missing=on_missing)

    def _import(self, request: HttpRequest) -> HttpResponse:
        document = open_document(request.POST.get("token", ""), user_id=request.user.pk)
        if document is None:
            self.message_user(request, "This page has expired: choose the file again.", messages.ERROR)
            return HttpResponseRedirect(request.path)
        on_missing = OnMissing.DELETE if request.POST.get("on_missing") == OnMissing.DELETE else OnMissing.KEEP
        try:
            result = self._run(request, document, on_missing, is_dry_run=False)
        except (AegisError, ValidationError, exceptions.ValidationError) as error:
            for text in _texts(error):
                self.message_user(request, text, messages.ERROR)
            return HttpResponseRedirect(request.path)
        self.message_user(request, f"Imported: {_summary(result)}.", messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:hosts_host_changelist"))

    def _run(self, request: HttpRequest, document: Any, on_missing: OnMissing, *, is_dry_run: bool) -> ImportResult:
        if on_missing is OnMissing.DELETE and not self.has_delete_permission(request):
            raise PermissionDenied
        envelope = open_envelope(document)
        count = request.POST.get("delete_count", "")
        options = ImportOptions(
            is_dry_run=is_dry_run,
            on_missing=on_missing,
            delete_count=int(count) if count.isascii() and count.isdecimal() else None,
            may_issue=request.user.has_perm("localca.add_issuedcertificate"),
        )
        return finish(import_hosts(envelope.entries, sealer=envelope.sealer, options=options, user=request.user))

    def _may_import(self, request: HttpRequest) -> bool:
        return bool(self.has_add_permission(request) and self.has_change_permission(request))

    def _page(
        self,
        request: HttpRequest,
        *,
        export_form: SealedExportForm | None = None,
        import_form: ImportForm | None = None,
        result: ImportResult | None = None,
        token: str = "",
        on_missing: OnMissing = OnMissing.KEEP,
    ) -> HttpResponse:
        affected = [host for host in result.hosts if host.outcome is not Outcome.UNCHANGED] if result else []
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Export / Import",
            "may_export_secrets": request.user.has_perm(EXPORT_SECRETS),
            "may_import": self._may_import(request),
            "export_form": export_form or SealedExportForm(),
            "import_form": import_form or ImportForm(),
            "result": result,
            "failed_count": result.count(Outcome.FAILED) if result else 0,
            "summary": _summary(result) if result else "",
            "rows": [(_BADGES[host.outcome], host) for host in affected[:MAX_SHOWN_HOSTS]],
            "hidden_count": max(0, len(affected) - MAX_SHOWN_HOSTS),
            "token": token if affected else "",
            "on_missing": on_missing,
            "delete_count": result.count(Outcome.DELETED) if result else 0,
        }
        return TemplateResponse(request, "hosts/exchange.html", context)


def _download(document: dict[str, Any], form: Format) -> HttpResponse:
    return attachment(write_document(document, form), media_type=_MEDIA_TYPES[form], file_name=f"aegis-hosts.{form}")


def _summary(result: ImportResult) -> str:
    counts = [f"{result.count(outcome)} {outcome}" for outcome in Outcome if result.count(outcome)]
    return ", ".join(counts) or "no hosts"


def _texts(error: AegisError | ValidationError | exceptions.ValidationError) -> list[str]:
    if isinstance(error, AegisError):
        return [error.message]
    return [f"{problem['field']}: {problem['message']}".removeprefix(": ") for problem in field_errors(error)]
