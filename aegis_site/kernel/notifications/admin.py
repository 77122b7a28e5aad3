"""Admin pages of notifications.

Laws of this module: addresses and secrets are never shown; what sends something is a POST from a dialog, with a CSRF
token.
"""

from typing import Any

from django.contrib import admin, messages
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html_join
from django.views.decorators.debug import sensitive_post_parameters

from aegis_site.kernel.admin import ReadOnlyAdmin, action, display
from aegis_site.kernel.audit.audited_admin import AuditedAdmin
from aegis_site.kernel.errors import AegisError
from aegis_site.kernel.notifications.audit import CHANNELS, WINDOWS
from aegis_site.kernel.notifications.forms import ChannelForm, MaintenanceWindowForm
from aegis_site.kernel.notifications.models import (
    Channel,
    Delivery,
    DeliveryState,
    MaintenanceWindow,
    NotedEvent,
    Outcome,
)
from aegis_site.kernel.notifications.services import (
    delete_channels,
    delete_windows,
    retry_delivery,
    save_channel,
    save_window,
    send_test,
)
from aegis_site.kernel.throttling import TooManyTests, count_test

RETRYING = "retrying"
_STATES = {
    DeliveryState.WAITING: "info",
    DeliveryState.DELIVERED: "success",
    DeliveryState.FAILED: "danger",
    RETRYING: "warning",
}


def _state_of(state: str, attempts: int, error: str) -> tuple[str, str]:
    if state == DeliveryState.WAITING and attempts and error:
        return RETRYING, "Failed, tried again"
    return state, str(DeliveryState(state).label)


@admin.register(Channel)
class ChannelAdmin(AuditedAdmin):
    """Who is told, and of what."""

    audit_type = CHANNELS.target_type
    form = ChannelForm
    list_display = ["name", "kind", "destination", "enabled", "last_delivery"]
    list_filter = ["kind", "enabled"]
    search_fields = ["name"]
    readonly_fields = ["destination"]
    actions_detail = ["send_test_message"]
    fieldsets = [
        (None, {"fields": ["name", "kind", "enabled"]}),
        ("Where", {"fields": ["destination", "new_url", "new_secret", "clear_secret", "recipients"]}),
        ("What", {"fields": ["events", "group_s"]}),
        ("Quiet hours", {"fields": ["quiet_from", "quiet_to", "time_zone", "critical_passes"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Channel]:
        """With what became of the last message, in the same query."""
        last = Delivery.objects.filter(channel=OuterRef("pk"), attempts__gt=0).order_by("-created_at")
        channels: QuerySet[Channel] = super().get_queryset(request)
        return channels.annotate(
            **{f"last_{name}": Subquery(last.values(name)[:1]) for name in ("state", "attempts", "last_error")}
        )

    @display(description="Last message", label=_STATES)
    def last_delivery(self, channel: Any) -> tuple[str, str] | str:
        if channel.last_state is None:
            return "-"
        return _state_of(channel.last_state, channel.last_attempts, channel.last_last_error)

    @action(
        description="Send test message",
        permissions=["change"],
        icon="send",
        url_path="send-test",
        dialog={
            "title": "Send a test message?",
            "description": "It goes out at once, by the channel as it is saved.",
            "form_submit_text": "Send",
        },
    )
    def send_test_message(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        """A POST from the dialog; the page that follows says what became of it."""
        channel = self.get_object(request, object_id)
        if channel is None:
            raise Http404("no such channel")
        try:
            count_test(request.user.pk)
        except TooManyTests as error:
            self.message_user(request, error.message, messages.ERROR)
        else:
            result = send_test(channel)
            level = messages.SUCCESS if result.success else messages.ERROR
            said = "The test message is sent." if result.success else "The test message could not be sent."
            self.message_user(request, f"{said} {result.message}", level)
        return _redirect("channel", channel.pk)

    @method_decorator(sensitive_post_parameters("new_url", "new_secret"))
    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return super().changeform_view(request, *args, **kwargs)

    def save_model(self, request: HttpRequest, obj: Channel, form: ChannelForm, change: bool) -> None:
        save_channel(channel=obj, values=form.values, user=request.user)
        if change:
            obj.refresh_from_db()

    def delete_model(self, request: HttpRequest, obj: Channel) -> None:
        delete_channels(ids=[obj.pk], user=request.user)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Channel]) -> None:
        delete_channels(ids=list(queryset.values_list("pk", flat=True)), user=request.user)


@admin.register(MaintenanceWindow)
class MaintenanceWindowAdmin(AuditedAdmin):
    """When nothing is told. Times are in UTC."""

    audit_type = WINDOWS.target_type
    form = MaintenanceWindowForm
    list_display = ["name", "begins_at", "ends_at", "whole_site"]
    search_fields = ["name"]
    autocomplete_fields = ["hosts"]
    fields = ["name", "begins_at", "ends_at", "whole_site", "hosts"]

    def save_model(self, request: HttpRequest, obj: MaintenanceWindow, form: Any, change: bool) -> None:
        save_window(window=obj, values=form.values, user=request.user)
        if change:
            obj.refresh_from_db()

    def delete_model(self, request: HttpRequest, obj: MaintenanceWindow) -> None:
        delete_windows(ids=[obj.pk], user=request.user)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[MaintenanceWindow]) -> None:
        delete_windows(ids=list(queryset.values_list("pk", flat=True)), user=request.user)


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    """Messages, and what became of them."""

    list_display = ["created_at", "channel", "state_label", "subjects", "attempts", "due_at", "last_error"]
    list_filter = ["state", "channel"]
    list_select_related = ["channel"]
    actions_detail = ["retry"]
    fields = [
        "channel",
        "state_label",
        "told",
        "attempts",
        "due_at",
        "first_attempt_at",
        "finished_at",
        "status",
        "last_error",
    ]
    readonly_fields = ["state_label", "told"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        deliveries: QuerySet[Delivery] = super().get_queryset(request)
        return deliveries.prefetch_related("events")

    def has_retry_permission(self, request: HttpRequest, object_id: object = None) -> bool:
        return bool(request.user.has_perm("notifications.change_delivery"))

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """Only what was given up is sent again by hand."""
        delivery = self.get_object(request, object_id)
        is_failed = delivery is not None and delivery.state == DeliveryState.FAILED
        return super().get_actions_detail(request, object_id) if is_failed else []

    @display(description="State", label=_STATES)
    def state_label(self, delivery: Delivery) -> tuple[str, str]:
        return _state_of(delivery.state, delivery.attempts, delivery.last_error)

    @display(description="Events")
    def subjects(self, delivery: Delivery) -> str:
        titles = [event.title for event in delivery.events.all()]
        return titles[0] + (f" (and {len(titles) - 1} more)" if len(titles) > 1 else "") if titles else "-"

    @display(description="Events")
    def told(self, delivery: Delivery) -> str:
        rows = ((f"{event.at:%Y-%m-%d %H:%M:%S}", event.title) for event in delivery.events.all())
        return format_html_join("", "<div>{} UTC: {}</div>", rows) or "-"

    @action(
        description="Send again",
        permissions=["retry"],
        icon="replay",
        url_path="retry",
        dialog={
            "title": "Send this message again?",
            "description": "It is tried for another day.",
            "form_submit_text": "Send again",
        },
    )
    def retry(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        """A POST from the dialog."""
        delivery = self.get_object(request, object_id)
        if delivery is None:
            raise Http404("no such message")
        try:
            retry_delivery(delivery=delivery, user=request.user)
        except AegisError as error:
            self.message_user(request, error.message, messages.ERROR)
        else:
            self.message_user(request, "It is sent within a few seconds.", messages.SUCCESS)
        return _redirect("delivery", delivery.pk)


@admin.register(NotedEvent)
class NotedEventAdmin(ReadOnlyAdmin):
    """What happened, told or not."""

    list_display = ["at", "title", "kind", "outcome_label"]
    list_filter = ["kind", "outcome"]
    search_fields = ["title", "subject"]
    fields = ["at", "kind", "title", "text", "subject", "group", "since", "outcome_label", "facts"]
    readonly_fields = ["outcome_label", "facts"]

    @display(
        description="Outcome",
        label={Outcome.TOLD: "success", Outcome.PENDING: "info", Outcome.MUTED: "warning", Outcome.UNHEARD: "info"},
    )
    def outcome_label(self, event: NotedEvent) -> tuple[str, str]:
        return event.outcome, event.get_outcome_display()

    @display(description="Details")
    def facts(self, event: NotedEvent) -> str:
        return format_html_join("", "<div>{}: {}</div>", event.details.items()) or "-"


def _redirect(model: str, key: object) -> HttpResponse:
    """htmx follows HX-Redirect."""
    return HttpResponse(headers={"HX-Redirect": reverse(f"admin:notifications_{model}_change", args=[key])})
