"""The page "Clone" of a host: asks for what two hosts cannot share, and makes the copy.

Laws of this module: looking is a GET by who may see the host and add hosts; copying is a POST with a CSRF token by the
same. No page holds a secret.
"""

import re

from django import forms
from django.contrib import messages
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from aegis_site.kernel.admin import action
from aegis_site.kernel.errors import AegisError
from hosts.cloning import MAX_NAME_CHARACTERS, clone_host, free_name, has_secrets
from hosts.models import Host


class CloneForm(forms.Form):
    """What is different about the copy."""

    name = forms.CharField(max_length=MAX_NAME_CHARACTERS, widget=UnfoldAdminTextInputWidget)
    domains = forms.CharField(
        widget=UnfoldAdminTextareaWidget({"rows": 3, "spellcheck": "false", "autofocus": True}),
        help_text="One per line or separated by commas. A domain belongs to one host, so none is copied.",
    )
    with_secrets = forms.BooleanField(
        label="Copy the secrets too",
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text=(
            "The client certificate with its key, and the secret values of header rules, sealed anew. Both hosts are "
            "then the same client to their upstreams. Off: the copy presents none, and those header rules are left out."
        ),
    )

    def clean_domains(self) -> list[str]:
        return [name for name in re.split(r"[\s,;]+", self.cleaned_data["domains"]) if name]

    def refuse(self, error: ValidationError) -> None:
        """Show what the service says: at its field, or with the field's name above the form."""
        problems = error.error_dict if hasattr(error, "error_dict") else {NON_FIELD_ERRORS: error.error_list}
        for field, found in problems.items():
            if field in self.fields:
                self.add_error(field, found)
                continue
            named = "" if field == NON_FIELD_ERRORS else f"{field}: "
            for problem in found:
                self.add_error(None, f"{named}{' '.join(problem.messages)}")


class CloneAdmin(ModelAdmin):
    """To be mixed into the admin of hosts."""

    def has_clone_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """It shows one host and makes another."""
        return bool(self.has_view_permission(request) and self.has_add_permission(request))

    @action(description="Clone", permissions=["clone"], icon="content_copy", url_path="clone")
    def clone(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The page; a POST makes the copy and leads to its editor."""
        host: Host | None = self.get_object(request, object_id)
        if host is None:
            raise Http404("no such host")
        form = CloneForm(request.POST if request.method == "POST" else None, initial={"name": free_name(host)})
        if form.is_valid() and (copy := self._cloned(request, host, form)) is not None:
            text = f"Copied {host}. The copy is disabled: look at it, and enable it in General."
            self.message_user(request, text, messages.SUCCESS)
            return HttpResponseRedirect(reverse("admin:hosts_host_change", args=[copy.pk]))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": host,
            "title": f"Clone {host}",
            "form": form,
            "has_secrets": has_secrets(host),
            "has_site_certificate": bool(host.downstream_configuration.certificate),
        }
        return TemplateResponse(request, "hosts/clone.html", context)

    def _cloned(self, request: HttpRequest, host: Host, form: CloneForm) -> Host | None:
        try:
            return clone_host(host=host, **form.cleaned_data, user=request.user)
        except ValidationError as error:
            form.refuse(error)
        except AegisError as error:
            form.add_error(None, error.message)
        return None
