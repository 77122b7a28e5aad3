"""The forms of the host editor. What is valid is decided by `hosts.services`, `hosts.models` and `upstream_tls`."""

import re
from typing import Any

from django import forms
from django.utils.html import format_html_join
from django.utils.safestring import mark_safe
from unfold.forms import PaginationInlineFormSet
from unfold.widgets import UnfoldAdminTextareaWidget

from hosts.downstream_forms import DownstreamTLSFields
from hosts.drafts import clean_domains
from hosts.models import Host, Upstream
from hosts.traffic_forms import TrafficFields
from hosts.validators import clean_tags
from upstream_tls.form_fields import ListField

_BALANCING_HELP = (
    ("Round robin", "in turn, by weight."),
    ("Least connections", "the one with the fewest open requests for its weight."),
    ("IP hash", "a client's address always leads to the same one, while it is up."),
    ("Random two choices", "the less busy of two that are drawn; for several workers."),
)


class HostForm(DownstreamTLSFields, TrafficFields):
    """A host with its domains, TLS on both sides and the settings of its traffic. `is_issuing` is set by the admin."""

    is_issuing = False

    domains = forms.CharField(
        widget=UnfoldAdminTextareaWidget({"rows": 3, "spellcheck": "false"}),
        help_text="One per line or separated by commas. *.example.com stands for all names below it.",
    )

    tags = ListField(
        required=False,
        help_text="Words to find hosts by, separated by commas, such as prod, team:payments.",
    )

    class Meta:
        model = Host
        fields = ["name", "tags", "enabled", "preserve_host", "websockets", "load_balancing", "access_log"]
        help_texts = {
            "load_balancing": format_html_join(mark_safe("<br>"), "<strong>{}</strong>: {}", _BALANCING_HELP),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance._state.adding:
            self.initial["tags"] = ", ".join(self.instance.tags)
            self.fields["domains"].initial = "\n".join(domain.name for domain in self.instance.domains.all())

    def clean_domains(self) -> list[str]:
        names = [name for name in re.split(r"[\s,;]+", self.cleaned_data["domains"]) if name]
        return clean_domains(names, host_id=self.instance.pk)

    def clean_tags(self) -> list[str]:
        return clean_tags(self.cleaned_data["tags"])

    def clean(self) -> None:
        super().clean()
        self.clean_upstream_tls(will_be_issued=self.is_issuing)
        self.clean_downstream_tls()
        self.clean_traffic()


class UpstreamForm(forms.ModelForm):  # type: ignore[type-arg]
    """One row of the upstreams."""

    class Meta:
        model = Upstream
        fields = ["position", "scheme", "address", "port", "weight", "enabled", "backup", "drain"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["position"].required = False
        for field in self.fields.values():
            field.widget.attrs["aria-label"] = field.label  # the headings of the columns label nothing
        if self.instance._state.adding:
            self.initial["position"] = None

    def has_changed(self) -> bool:
        """Dragging numbers the empty rows too; that alone does not make an upstream."""
        return bool(set(self.changed_data) - ({"position"} if self.instance._state.adding else set()))


class UpstreamFormSet(PaginationInlineFormSet):
    """All rows. Those without a position, new and never dragged, come last."""

    def clean(self) -> None:
        super().clean()
        upstreams = [form.instance for form in self.forms]
        following = 1 + max((upstream.position for upstream in upstreams if upstream.position is not None), default=-1)
        for upstream in upstreams:
            if upstream.position is None:
                upstream.position, following = following, following + 1
