"""The admin pages that change the CAs.

Laws of this module: a GET changes nothing; every change is a POST with a CSRF token by who may change CAs, and is done
by a service. A private key is the answer to the POST that asked for it, as a download that no cache may keep.
"""

import uuid
from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from unfold.admin import ModelAdmin

from aegis_site.kernel.admin import action
from aegis_site.kernel.downloads import attachment
from aegis_site.kernel.errors import AegisError
from localca.authority_forms import (
    SECRETS,
    CrlUrlForm,
    ExportKeyForm,
    GiveListForm,
    ImportAuthorityForm,
    KeyForm,
    NewAuthorityForm,
    RemoveKeyForm,
    RetireForm,
    RevokeAuthorityForm,
)
from localca.authority_keys import KeyFormat, export_key, may_do_without_key, remove_key, restore_key
from localca.bundle import authority_stem
from localca.given_lists import give_list
from localca.hierarchy import create_intermediate, create_root, set_crl_url
from localca.importing import import_intermediate
from localca.models import CertificateAuthority, RevocationReason
from localca.retirement import readiness_of, retire_authority
from localca.revocation import revoke_intermediate
from localca.selectors import list_places
from localca.validators import AUTHORITY_ID_PLACEHOLDER

_NEW_ROOT_STEPS = (
    "The new root issues at once, and the trust bundle has both. So give upstreams the new bundle first, then renew "
    "what hosts present, then retire the old root: its page says what still depends on it. "
    "The fingerprint changes with it, so compare it again on every upstream."
)


# More than the head of a page has room for.
_CHANGES = ["export_key", "remove_key", "restore_key", "crl_place", "give_list", "retire", "revoke"]

_KEY_FILES = {
    KeyFormat.PKCS12: (".p12", "application/x-pkcs12"),
    KeyFormat.PEM: (".key", "application/x-pem-file"),
}

# Stands for the id of a CA that is not made yet; RFC 9562 section 5.9.
_NOBODY = uuid.UUID(int=0)


class HierarchyAdmin(ModelAdmin):
    """To be mixed into the admin of CAs."""

    actions_list = ["new_intermediate", "import_authority", "new_root"]
    actions_detail: list[Any] = [{"title": "Change", "icon": "tune", "items": _CHANGES}]

    # Of permissions that actions name with a dot, unfold's checks look into the database, before there are tables.
    def has_manage_permission(self, request: HttpRequest, object_id: object = None) -> bool:
        return request.user.has_perm("localca.change_certificateauthority")

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """Without what this CA does not admit."""
        authority = self.get_object(request, object_id)
        hidden = set(_CHANGES) if authority is None else _not_for(authority)
        prefix = f"{self.opts.app_label}_{self.opts.model_name}_"
        actions = super().get_actions_detail(request, object_id)
        return [item for item in actions if item.action_name.removeprefix(prefix) not in hidden]

    @action(description="New intermediate", permissions=["manage"], icon="account_tree", url_path="new-intermediate")
    def new_intermediate(self, request: HttpRequest) -> HttpResponse:
        """The form; a POST makes it."""
        return self._page(
            request,
            NewAuthorityForm(request.POST or None, crl_place=_crl_place(request)),
            lambda values: create_intermediate(**values, user=request.user),
            title="New intermediate",
            text="The root signs it, and it issues from then on. Upstreams need nothing new: they trust the root. "
            "Then the root's key can be exported and removed from here.",
        )

    @action(description="New root", permissions=["manage"], icon="autorenew", url_path="new-root")
    def new_root(self, request: HttpRequest) -> HttpResponse:
        """The form; a POST makes it."""
        return self._page(
            request,
            NewAuthorityForm(request.POST or None, crl_place=_crl_place(request)),
            lambda values: create_root(**values, user=request.user),
            title="New root",
            text=_NEW_ROOT_STEPS,
        )

    @action(description="Import intermediate", permissions=["manage"], icon="upload", url_path="import-intermediate")
    @method_decorator(sensitive_post_parameters(*SECRETS))
    def import_authority(self, request: HttpRequest) -> HttpResponse:
        """The form; a POST stores it."""
        return self._page(
            request,
            ImportAuthorityForm(request.POST or None, crl_place=_crl_place(request)),
            lambda values: import_intermediate(**values, user=request.user),
            title="Import intermediate",
            text="A CA of your organisation issues from then on. It is checked up to its root, and certificates "
            "beneath it are proved, before anything is stored. " + _NEW_ROOT_STEPS,
        )

    @action(description="Export key", permissions=["manage"], icon="key", url_path="export-key")
    @method_decorator(sensitive_post_parameters(*SECRETS))
    def export_key(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The form; a POST answers with the download."""
        authority = self._authority(request, object_id)

        def exported(values: dict[str, Any]) -> HttpResponse:
            form = KeyFormat(values["form"] or KeyFormat.PKCS12)
            content = export_key(authority=authority, passphrase=values["passphrase"], form=form, user=request.user)
            suffix, media_type = _KEY_FILES[form]
            name = f"{authority_stem(authority)}{suffix}"
            response = attachment(content, media_type=media_type, file_name=name)
            response["Cache-Control"] = "no-store"
            return response

        return self._page(
            request,
            ExportKeyForm(request.POST or None),
            exported,
            title=f"Export the key of {authority}",
            text="The answer is a file with the CA's private key, encrypted with AES-256 under the passphrase. Whoever "
            "opens it can issue certificates that every upstream accepts: keep it offline.",
            authority=authority,
        )

    @action(description="Remove key", permissions=["manage"], icon="key_off", url_path="remove-key")
    def remove_key(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The form; a POST removes it."""
        authority = self._authority(request, object_id)
        return self._page(
            request,
            RemoveKeyForm(request.POST or None),
            lambda values: remove_key(authority=authority, **values, user=request.user),
            title=f"Remove the key of {authority}",
            text="Its last revocation list is signed first and lasts as long as the CA. A new intermediate beneath it "
            "needs the key back, and so does revoking what it has issued itself: renew such certificates first. Older "
            "backups of the database still hold the key.",
            authority=authority,
        )

    @action(description="Restore key", permissions=["manage"], icon="key", url_path="restore-key")
    @method_decorator(sensitive_post_parameters(*SECRETS))
    def restore_key(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The form; a POST stores it."""
        authority = self._authority(request, object_id)
        return self._page(
            request,
            KeyForm(request.POST or None),
            lambda values: restore_key(authority=authority, **values, user=request.user),
            title=f"Restore the key of {authority}",
            text="As PEM, encrypted or not. From a PKCS#12 file: openssl pkcs12 -in FILE.p12 -nocerts -out key.pem",
            authority=authority,
        )

    @action(description="Distribution point", permissions=["manage"], icon="link", url_path="crl-url")
    def crl_place(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The form; a POST changes it."""
        authority = self._authority(request, object_id)
        return self._page(
            request,
            CrlUrlForm(
                request.POST if request.method == "POST" else None,
                initial={"crl_url": authority.crl_url},
                crl_place=_crl_place(request, authority),
            ),
            lambda values: set_crl_url(authority=authority, **values, user=request.user),
            title=f"CRL distribution point of {authority}",
            text="What it issued before says what it said.",
            authority=authority,
        )

    @action(description="Give revocation list", permissions=["manage"], icon="upload_file", url_path="give-list")
    def give_list(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The form; a POST stores the list."""
        authority = self._authority(request, object_id)
        is_post = request.method == "POST"
        form = GiveListForm(request.POST if is_post else None, request.FILES if is_post else None)
        places = list_places(authority)
        where = f" Certificates say that it is at {' or '.join(places)}." if places else ""
        signs = "Lists that are signed here from then on name what it names. " if authority.has_key else ""
        return self._page(
            request,
            form,
            lambda values: give_list(authority=authority, crl=form.content(), user=request.user),
            title=f"Give the revocation list of {authority}",
            text="One that was signed elsewhere. Upstreams that check whole chains need those of all CAs: the trust "
            f"bundle and the public list have it from then on. {signs}Expiry tells when the next one is needed.{where}",
            authority=authority,
        )

    @action(description="Retire", permissions=["manage"], icon="inventory_2", url_path="retire")
    def retire(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """What still depends on it; a POST retires it when nothing does."""
        authority = self._authority(request, object_id)
        return self._page(
            request,
            RetireForm(request.POST if request.method == "POST" else None),
            lambda values: retire_authority(authority=authority, user=request.user),
            title=f"Retire {authority}",
            text="It leaves the trust bundle with every intermediate beneath it. This cannot be undone.",
            authority=authority,
            extra={"readiness": readiness_of(authority)},
        )

    @action(description="Revoke", permissions=["manage"], icon="block", url_path="revoke")
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The form; a POST revokes it."""
        authority = self._authority(request, object_id)

        def revoked(values: dict[str, Any]) -> CertificateAuthority:
            reason = RevocationReason(values["reason"])
            return revoke_intermediate(authority=authority, reason=reason, user=request.user)

        return self._page(
            request,
            RevokeAuthorityForm(request.POST or None),
            revoked,
            title=f"Revoke {authority}",
            text="Its issuer's revocation list names it at once. Peers with that list refuse everything that it "
            "issued. This cannot be undone.",
            authority=authority,
        )

    def _page(
        self,
        request: HttpRequest,
        form: forms.Form,
        act: Callable[[dict[str, Any]], CertificateAuthority | HttpResponse],
        *,
        title: str,
        text: str,
        authority: CertificateAuthority | None = None,
        extra: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if request.method == "POST" and form.is_valid():
            try:
                done = act(form.cleaned_data)
            except ValidationError as error:
                form.add_error(None, error)
            except AegisError as error:
                form.add_error(None, error.message)
            else:
                return done if isinstance(done, HttpResponse) else self._done(request, done, title=title)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": authority,
            "title": title,
            "text": text,
            "form": form,
            **(extra or {}),
        }
        return TemplateResponse(request, "localca/authority.html", context)

    def _done(self, request: HttpRequest, authority: CertificateAuthority, *, title: str) -> HttpResponse:
        self.message_user(request, f"{title}: done.", messages.SUCCESS)
        return redirect("admin:localca_certificateauthority_change", authority.pk)

    def _authority(self, request: HttpRequest, object_id: str) -> CertificateAuthority:
        authority = self.get_object(request, object_id)
        if authority is None:
            raise Http404("no such CA")
        found: CertificateAuthority = authority
        return found


def _crl_place(request: HttpRequest, authority: CertificateAuthority | None = None) -> str:
    """Where the list of this CA, or of one to be made, is by the address that the request came to."""
    known = authority.pk if authority else _NOBODY
    place = request.build_absolute_uri(reverse("api-authority-crl", args=[known]))
    return place.replace(str(_NOBODY), AUTHORITY_ID_PLACEHOLDER)


def _not_for(authority: CertificateAuthority) -> set[str]:
    """The actions that this CA does not admit, whatever else would refuse them."""
    hidden = {"restore_key"} if authority.has_key else {"export_key", "remove_key", "crl_place"}
    if not (authority.is_over or may_do_without_key(authority)):
        hidden.add("remove_key")
    if authority.is_active or not authority.is_root or authority.is_over:
        hidden.add("retire")
    if authority.is_active or authority.is_root or authority.is_over:
        hidden.add("revoke")
    if authority.is_over:
        hidden.add("crl_place")
    # Lists from elsewhere are those of CAs that are or were elsewhere: an organisation's, or whose key was removed.
    if authority.is_over or authority.root.has_key:
        hidden.add("give_list")
    return hidden
