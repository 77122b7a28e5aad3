"""Admin pages of hosts and workers: the product's face.

Laws of this module:
- Rules live in the services and forms; here is only what is shown and which service a button calls.
- `save_model` runs before the inlines are saved, so publishing hangs on the commit.
- No page or message holds a private key. The audit log gets one entry for what a form does to its host.
"""

import uuid
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet, Subquery
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.urls import URLPattern, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters
from unfold.admin import TabularInline

from aegis_site.kernel.admin import ReadOnlyAdmin, action, display, shown_once
from aegis_site.kernel.audit.models import AuditEntry
from aegis_site.kernel.audit.panels import entry_views
from aegis_site.kernel.audit.recording import changing
from aegis_site.kernel.errors import AegisError
from aegis_site.kernel.site_settings.services import host_defaults
from hosts.audit import HOSTS
from hosts.badges import badge, badges, host_badges
from hosts.certificate_admin import ClientCertificateAdmin, issued_message
from hosts.clone_admin import CloneAdmin
from hosts.connection_test_admin import SAVE_AND_TEST, ConnectionTestAdmin
from hosts.downstream_admin import DownstreamTLSAdmin
from hosts.drafts import MAX_UPSTREAMS
from hosts.editor_tabs import EditorTabs
from hosts.exchange_admin import ExchangeAdmin
from hosts.expiry.admin import ExpiryAdmin
from hosts.forms import HostForm, UpstreamForm, UpstreamFormSet
from hosts.list_admin import HostListAdmin
from hosts.logs.admin import LogsAdmin
from hosts.models import CompiledHost, Host, ProxyWorker, Upstream
from hosts.part_of_host import PartOfHost
from hosts.posture_admin import PostureAdmin
from hosts.publish import publish_on_commit
from hosts.revert_admin import RevertAdmin
from hosts.rotation.admin import RotationAdmin, held_up_renewal
from hosts.sections import inlines, pages
from hosts.selectors import WorkerHealth, published_state, refusals, worker_health
from hosts.services import ISSUED, delete_hosts, install_issued_certificate, write_domains
from hosts.traffic_admin import HEADER_FIELDS, TRAFFIC_FIELDS, Fieldset, TrafficAdmin
from hosts.traffic_statistics.admin import TrafficStatisticsAdmin
from hosts.upstream_setup_admin import UpstreamSetupAdmin
from hosts.wizard.admin import WizardAdmin
from upstream_tls.models import UpstreamTLSConfiguration
from upstream_tls.panels import certificates_panel, crls_panel
from upstream_tls.selectors import host_names_by_key, local_authorities, warnings_of
from upstream_tls.tls.lint import LintWarning

ISSUE_ACTION = "hosts_host_save_and_issue"
# A key may have been pasted beside the certificate.
SECRET_PARAMETERS = (
    "client_certificate",
    "client_key",
    "client_key_passphrase",
    "kept_client_key",
    "https_certificate",
    "https_key",
    "https_key_passphrase",
    "kept_https_key",
)

# The page "History" has all.
SHOWN_ENTRIES = 10

HEALTH_BADGES = {WorkerHealth.CURRENT: "success", WorkerHealth.BEHIND: "warning", WorkerHealth.LOST: "danger"}

Fieldsets = list[Fieldset]

GENERAL_FIELDS = ["name", "domains", "tags", "enabled", "preserve_host", "websockets", "load_balancing"]
TLS_FIELDS = [
    "tls_enabled",
    "client_certificate",
    "client_certificate_file",
    "client_certificate_facts",
    "client_key",
    "client_key_file",
    "kept_client_key",
    "client_key_passphrase",
    "clear_client_key",
    "ca_certificate",
    "ca_certificate_file",
    "ca_certificate_facts",
    "skip_verify",
    ("skip_verify_reason", "skip_verify_until"),
    "server_name",
    "connection_test",
]
ADVANCED_TLS_FIELDS = [
    "verify_name",
    ("min_version", "max_version"),
    "ciphers",
    "alpn",
    "crl",
    "crl_file",
    "crl_facts",
    "pinned_spki_sha256",
    "verify_depth",
]
VIEW_FIELDSETS: Fieldsets = [
    (
        "General",
        {"fields": ["name", "domain_names", "tag_list", "enabled", "preserve_host", "websockets", "load_balancing"]},
    ),
    ("Upstream TLS", {"fields": ["protection", "client_certificate_facts", "ca_certificate_facts", "crl_facts"]}),
    ("HTTPS towards clients", {"fields": ["https_certificate_facts"]}),
    ("Connection test", {"fields": ["connection_test_result"]}),
    ("Traffic statistics", {"fields": ["traffic_statistics"]}),
    ("Proxy workers", {"fields": ["published", "upstream_failures_only"]}),
]


class UpstreamInline(PartOfHost, TabularInline):
    """The upstreams in the order in which they are tried; rows are dragged."""

    model = Upstream
    form = UpstreamForm
    formset = UpstreamFormSet
    max_num = MAX_UPSTREAMS
    fields = ["position", "scheme", "address", "port", "weight", "enabled", "backup", "drain"]
    ordering_field = "position"
    hide_ordering_field = True
    hide_title = True
    verbose_name_plural = "Upstreams"

    def get_extra(self, request: HttpRequest, obj: Host | None = None, **kwargs: Any) -> int:
        return 1 if obj is None else 0


@admin.register(Host)
class HostAdmin(
    RevertAdmin,
    PostureAdmin,
    ExpiryAdmin,
    WizardAdmin,
    LogsAdmin,
    ExchangeAdmin,
    ClientCertificateAdmin,
    RotationAdmin,
    UpstreamSetupAdmin,
    ConnectionTestAdmin,
    DownstreamTLSAdmin,
    TrafficAdmin,
    TrafficStatisticsAdmin,
    CloneAdmin,
    HostListAdmin,
):
    """List and editor of proxy hosts."""

    class Media:
        css: ClassVar[Any] = {"all": ["hosts/editor.css"]}
        js: ClassVar[Any] = ["hosts/editor_tabs.js", "hosts/editor_conditions.js", "hosts/editor_changes.js"]

    audit_type = HOSTS.target_type
    form = HostForm
    inlines = [UpstreamInline]
    empty_list_template = "hosts/wizard/empty_list.html"
    actions = [*HostListAdmin.actions, "rotate_selected"]
    actions_list = [*WizardAdmin.actions_list, *ExchangeAdmin.actions_list]
    actions_detail = ["client_certificate", "rotations", *UpstreamSetupAdmin.actions_detail, "logs", "clone"]
    # The tab "History" leads there as well.
    actions_detail_hide_default = True
    actions_submit_line = ["save_and_test", "save_and_issue", "save_and_issue_server"]
    change_form_before_template = "hosts/editor_status.html"
    readonly_fields = [
        "client_certificate_facts",
        "ca_certificate_facts",
        "crl_facts",
        "client_identity",
        "certificate_requests",
        "https_certificate_facts",
        "connection_test",
        "connection_test_result",
        "published",
        "upstream_failures",
        "upstream_failures_only",
        "domain_names",
        "tag_list",
        "protection",
        "traffic_statistics",
    ]

    # What the pages show

    def get_urls(self) -> list[URLPattern]:
        return [*pages(self.admin_site), *super().get_urls()]

    def get_inlines(self, request: HttpRequest, obj: Host | None) -> list[Any]:
        return [*self.inlines, *inlines()]

    def get_fieldsets(self, request: HttpRequest, obj: Host | None = None) -> Fieldsets:
        if obj is not None and not self.has_change_permission(request, obj):
            return VIEW_FIELDSETS
        configuration = UpstreamTLSConfiguration() if obj is None else obj.upstream_configuration
        fieldsets: Fieldsets = [
            ("General", {"fields": GENERAL_FIELDS}),
            ("Upstream TLS", {"fields": _present(TLS_FIELDS, configuration)}),
            (
                "Advanced upstream TLS",
                {"fields": _present(ADVANCED_TLS_FIELDS, configuration), "classes": ["collapse"]},
            ),
            *([] if obj is None else [("Client certificate", {"fields": ["client_identity", "certificate_requests"]})]),
            ("HTTPS towards clients", {"fields": self.https_fields(obj)}),
            ("Traffic", {"fields": TRAFFIC_FIELDS, "classes": ["collapse"]}),
            ("Header rules", {"fields": HEADER_FIELDS, "classes": ["collapse"]}),
        ]
        if obj is None:
            return fieldsets
        return [
            *fieldsets,
            ("Traffic statistics", {"fields": ["traffic_statistics"]}),
            ("Proxy workers", {"fields": ["published", "upstream_failures"]}),
        ]

    @display(description="Upstream TLS")
    def protection(self, host: Host) -> SafeString:
        return badges(
            host_badges(
                host,
                refused_because=getattr(host, "refused_because", ""),
                has_failed_lately=getattr(host, "has_failed_lately", False),
            )
        )

    @display(description="Stored certificate")
    @shown_once
    def client_certificate_facts(self, host: Host) -> SafeString:
        facts = host.upstream_configuration.client_certificate_facts
        return certificates_panel(facts, now=timezone.now(), warnings=_warnings(host, "client_certificate"))

    @display(description="Stored CA certificates")
    @shown_once
    def ca_certificate_facts(self, host: Host) -> SafeString:
        facts = host.upstream_configuration.ca_certificate_facts
        return certificates_panel(facts, now=timezone.now(), warnings=_warnings(host, "ca_certificate"))

    @display(description="Stored revocation lists")
    @shown_once
    def crl_facts(self, host: Host) -> SafeString:
        return crls_panel(host.upstream_configuration.revocation_lists, warnings=_warnings(host, "crl"))

    @display(description="Workers")
    @shown_once
    def published(self, host: Host) -> SafeString:
        return render_to_string("hosts/published_panel.html", {"state": published_state(host.pk, now=timezone.now())})

    # What the pages do

    @method_decorator(sensitive_post_parameters(*SECRET_PARAMETERS))
    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        context = dict(extra_context or {})
        if object_id is None:
            # unfold shows the actions of the submit line for stored objects only.
            context["actions_submit_line"] = self.get_actions_submit_line(request, None)
        return super().changeform_view(request, object_id, form_url, context)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, obj: Host | None = None, **kwargs: Any
    ) -> HttpResponse:
        # One button less in a line of many; hosts are made one by one.
        context["show_save_and_add_another"] = False
        history = None if obj is None else self._history(request, obj)
        context["editor_tabs"] = EditorTabs(context["adminform"], context["inline_admin_formsets"], history=history)
        if obj is not None:
            context["configuration"] = obj.upstream_configuration
            context["held_up"] = held_up_renewal(obj.pk)
            context["refused_because"] = refusals(now=timezone.now()).get(str(obj.pk)) or getattr(obj, "problem", "")
        response: HttpResponse = super().render_change_form(request, context, *args, obj=obj, **kwargs)
        return response

    def get_form(
        self, request: HttpRequest, obj: Host | None = None, change: bool = False, **kwargs: Any
    ) -> type[HostForm]:
        form: type[HostForm] = super().get_form(request, obj, change, **kwargs)
        # The class is made for this request.
        form.user_id = request.user.pk
        form.user_name = request.user.get_username()
        form.is_issuing = self._is_issuing(request)
        form.is_issuing_server = self.is_issuing_server(request)
        return form

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """What an administrator has set for new hosts; what the address of the page says goes before it."""
        return {**host_defaults(), **super().get_changeform_initial_data(request)}

    def save_model(self, request: HttpRequest, obj: Host, form: HostForm, change: bool) -> None:
        if obj.pk is None:  # Django's formsets take it from a new object
            obj.pk = uuid.uuid4()
        # First the rows, then unfold's save_model, because that also runs the submit-line action.
        with changing(HOSTS, [obj.pk], user=request.user, action=ISSUED if form.is_issuing_server else ""):
            obj.save()
            write_domains(obj, form.cleaned_data["domains"])
            form.configuration.host = obj  # again: Django's formsets give a new object another primary key
            form.configuration.save()
            self.save_downstream(request, obj, form)
            self.save_traffic(obj, form)
        publish_on_commit([obj.pk])
        for notice in form.notices:
            self.message_user(request, notice, messages.INFO)
        super().save_model(request, obj, form, change)

    def delete_model(self, request: HttpRequest, obj: Host) -> None:
        delete_hosts(hosts=[obj], user=request.user)

    def delete_queryset(self, request: HttpRequest, queryset: Iterable[Host]) -> None:
        delete_hosts(hosts=queryset, user=request.user)

    @action(description="Save and issue client certificate", permissions=["issue"], icon="verified_user")
    def save_and_issue(self, request: HttpRequest, obj: Host) -> None:
        """Runs inside the POST of the form, after the rows are saved."""
        try:
            record = install_issued_certificate(host=obj, user=request.user)
        except AegisError as error:
            text = f"The host is saved; no certificate was issued: {error.message}."
            self.message_user(request, text, messages.ERROR)
            return
        self.message_user(request, issued_message(record), messages.SUCCESS)

    def response_add(self, request: HttpRequest, obj: Host, post_url_continue: str | None = None) -> HttpResponse:
        if self._stays_in_editor(request):
            return self._back_to_editor(request, obj)
        response: HttpResponse = super().response_add(request, obj, post_url_continue)
        return response

    def response_change(self, request: HttpRequest, obj: Host) -> HttpResponse:
        if self._stays_in_editor(request):
            return self._back_to_editor(request, obj)
        response: HttpResponse = super().response_change(request, obj)
        return response

    def _history(self, request: HttpRequest, host: Host) -> SafeString:
        """The last changes. One query."""
        entries = AuditEntry.objects.filter(target_type=HOSTS.target_type, target_id=str(host.pk))[:SHOWN_ENTRIES]
        views = entry_views(entries, revert_url=partial(self.revert_url, request))
        return render_to_string("hosts/editor_history.html", {"entries": views, "host": host})

    def _is_issuing(self, request: HttpRequest) -> bool:
        return ISSUE_ACTION in request.POST and self.has_issue_permission(request)

    def _stays_in_editor(self, request: HttpRequest) -> bool:
        return self._is_issuing(request) or self.is_issuing_server(request) or self._is_testing(request)

    def _is_testing(self, request: HttpRequest) -> bool:
        return SAVE_AND_TEST in request.POST and self.has_test_permission(request)

    def _back_to_editor(self, request: HttpRequest, host: Host) -> HttpResponse:
        section = "#connection-test" if self._is_testing(request) else ""
        return HttpResponseRedirect(reverse("admin:hosts_host_change", args=[host.pk]) + section)


@admin.register(ProxyWorker)
class ProxyWorkerAdmin(ReadOnlyAdmin):
    """The workers as they last described themselves."""

    list_display = [
        *("worker_id", "health", "active_checks", "generation", "accepted", "refused"),
        *("version", "pid", "last_seen_at"),
    ]
    fields = [
        *("worker_id", "health", "active_checks", "generation", "accepted", "reasons"),
        *("version", "pid", "last_seen_at"),
    ]
    readonly_fields = ["health", "active_checks", "reasons"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ProxyWorker]:
        latest = CompiledHost.objects.order_by("-generation").values("generation")[:1]
        return ProxyWorker.objects.annotate(latest=Subquery(latest))

    @display(description="State")
    def health(self, worker: ProxyWorker) -> SafeString:
        health = worker_health(worker, latest=getattr(worker, "latest", None) or 0, now=timezone.now())
        return badge(health.capitalize(), HEALTH_BADGES[health])

    @display(description="Active checks")
    def active_checks(self, worker: ProxyWorker) -> SafeString:
        if worker.health_feed_is_current:
            return badge("Heard", "success")
        return badge("Not heard: passive health alone", "warning")

    @display(description="Refused hosts")
    def refused(self, worker: ProxyWorker) -> int:
        return len(worker.rejected)

    @display(description="Refused hosts")
    def reasons(self, worker: ProxyWorker) -> SafeString:
        hosts = Host.objects.in_bulk(list(worker.rejected))
        rows = [(hosts.get(uuid.UUID(host_id)), reason) for host_id, reason in worker.rejected.items()]
        return render_to_string("hosts/refused_panel.html", {"rows": rows})


def _warnings(host: Host, field_name: str) -> list[LintWarning]:
    """What the lint says about one field of a stored host. Two queries."""
    configuration = host.upstream_configuration
    found = warnings_of(
        configuration,
        host_name=host.name,
        sharing=host_names_by_key([configuration]),
        known=local_authorities(),
        now=timezone.now(),
    )
    return [warning for warning in found if warning.field == field_name]


def _present(fields: Sequence[Any], configuration: UpstreamTLSConfiguration) -> list[Any]:
    """Those that make sense: facts of what is stored, and removing a key that there is."""
    absent = {
        "client_certificate_facts": not configuration.client_certificate,
        "ca_certificate_facts": not configuration.ca_certificate,
        "crl_facts": not configuration.crl,
        "clear_client_key": not configuration.has_client_key,
    }
    return [name for name in fields if not (isinstance(name, str) and absent.get(name))]
