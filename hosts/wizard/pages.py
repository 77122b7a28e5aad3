"""The page of each step: what it shows, and what a POST to it does.

Laws of this module:
- What a step stores is done by `hosts.wizard.services`; what a result means is said by `hosts.wizard.findings`. Who may
  come here was decided by `hosts.wizard.admin`, but issuing, which takes a permission of its own.
- A POST that was accepted answers with a redirect, so that reloading repeats nothing. No page has a private key.
"""

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from aegis_site.kernel.errors import AegisError
from hosts.certificate_admin import issued_message
from hosts.connection_test_panel import results_panel
from hosts.connection_tests import latest_tests
from hosts.models import Host
from hosts.selectors import Verdict, published_state
from hosts.services import install_issued_certificate
from hosts.snippets import setup_for
from hosts.upstream_setup_admin import ISSUE_PERMISSION
from hosts.wizard import services
from hosts.wizard.findings import Finding, anchor_in, demands_certificate, finding_of
from hosts.wizard.forms import (
    DomainsForm,
    ServerNameForm,
    TrustForm,
    UploadForm,
    UpstreamsForm,
    refuse,
    shown_upstreams,
)
from hosts.wizard.steps import (
    HEADINGS,
    TITLES,
    Step,
    following,
    is_current,
    is_needed,
    marks,
    tls_upstreams,
    works,
)
from hosts.wizard.trying import curl_line
from localca.selectors import trust_anchors
from upstream_tls.panels import certificates_panel
from upstream_tls.tls.peer import subject_name

if TYPE_CHECKING:
    from hosts.wizard.admin import WizardAdmin

# A worker hears of a host within a second, or polls every five.
_REFRESH_S = 2
_REFRESHED_FOR = datetime.timedelta(seconds=60)


class StepPage:
    """One step of `host`, for one request; a host that is not stored yet is before its first step."""

    template = ""

    def __init__(self, admin: "WizardAdmin", request: HttpRequest, step: Step, host: Host) -> None:
        self.admin = admin
        self.request = request
        self.step = step
        self.host = host
        self.user = request.user
        self.is_new = host._state.adding
        self.is_post = request.method == "POST"
        # Which button was pressed.
        self.asked = request.POST.get("do", "") if self.is_post else ""

    def answer(self) -> HttpResponse:
        """The page, or what comes of a POST."""
        raise NotImplementedError

    def show(self, **context: Any) -> HttpResponse:
        """The page with this in its template."""
        next_step = Step.UPSTREAMS if self.is_new else following(self.step, self.host)
        steps = marks(self.step, None if self.is_new else self.host)
        return TemplateResponse(
            self.request,
            f"hosts/wizard/{self.template}.html",
            {
                **self.admin.admin_site.each_context(self.request),
                "opts": self.admin.opts,
                "original": None if self.is_new else self.host,
                "title": "New host, step by step" if self.is_new else f"Set up {self.host}: {TITLES[self.step]}",
                "step": self.step,
                "number": list(Step).index(self.step) + 1,
                "heading": HEADINGS[self.step],
                "steps": [(mark, step_url(self.host, mark.step) if mark.is_link else "") for mark in steps],
                "next_url": step_url(self.host, next_step),
                "next_title": TITLES[next_step],
                "may_delete": not self.is_new and self.admin.has_delete_permission(self.request, self.host),
                **context,
            },
        )

    def to(self, step: Step) -> HttpResponse:
        """To the page of another step, or of this one anew."""
        return HttpResponseRedirect(step_url(self.host, step))

    def tell(self, text: str, level: int) -> None:
        """On the next page that is shown."""
        self.admin.message_user(self.request, text, level)

    def tried(self, form: forms.BaseForm, act: Callable[[], HttpResponse]) -> HttpResponse | None:
        """What `act` answers to a POST; None when there is none, or the form has errors, those of `act` included."""
        if not self.is_post or not form.is_valid():
            return None
        try:
            return act()
        except ValidationError as error:
            refuse(form, error)
        except AegisError as error:
            form.add_error(None, error.message)
        return None

    def told(self, act: Callable[[], HttpResponse]) -> HttpResponse:
        """What `act` answers; what it refuses is told on this page, for there is no field that was filled."""
        try:
            return act()
        except ValidationError as error:
            for text in error.messages:
                self.tell(text, messages.ERROR)
        except AegisError as error:
            self.tell(error.message, messages.ERROR)
        return self.to(self.step)

    def tested(self, step: Step) -> HttpResponse:
        """To the page of `step`, after a test of what is saved; when there was none, the page says why."""
        current = Host.objects.with_configuration().get(pk=self.host.pk)
        if tls_upstreams(current):
            try:
                services.try_upstreams(host=current, user=self.user)
            except AegisError as error:
                self.tell(error.message, messages.WARNING)
        return self.to(step)


class DomainsPage(StepPage):
    """The names; for a new host, a POST makes it."""

    template = "domains"

    def answer(self) -> HttpResponse:
        stored = "" if self.is_new else "\n".join(domain.name for domain in self.host.domains.all())
        form = DomainsForm(
            self.request.POST if self.is_post else None, initial={"name": self.host.name, "domains": stored}
        )

        def save() -> HttpResponse:
            name, domains = form.cleaned_data["name"], form.cleaned_data["domains"]
            if self.is_new:
                self.host = services.begin(name=name, domains=domains, user=self.user)
            else:
                services.set_domains(host=self.host, name=name, domains=domains, user=self.user)
            return self.to(Step.UPSTREAMS)

        return self.tried(form, save) or self.show(form=form)


class UpstreamsPage(StepPage):
    """Where requests go; a POST asks there at once."""

    template = "upstreams"

    def answer(self) -> HttpResponse:
        initial = {"upstreams": shown_upstreams(list(self.host.upstreams.all()))}
        form = UpstreamsForm(self.request.POST if self.is_post else None, initial=initial)

        def save() -> HttpResponse:
            services.set_upstreams(host=self.host, targets=form.cleaned_data["upstreams"], user=self.user)
            return self.tested(Step.CHECK)

        return self.tried(form, save) or self.show(form=form)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Remedies:
    """What a page offers to put right: two forms, and what was found."""

    trust: TrustForm
    name: ServerNameForm
    findings: Sequence[Finding]


class CheckPage(StepPage):
    """What the upstreams want, before there is a client certificate, and whether they take it, after."""

    template = "check"

    def answer(self) -> HttpResponse:
        tests, has_tls = latest_tests(self.host), bool(tls_upstreams(self.host))
        remedies = self._remedies([finding_of(test) for test in tests])
        if self.is_post and (done := self._put_right(remedies)):
            return done
        findings, configuration = remedies.findings, self.host.upstream_configuration
        return self.show(
            findings=findings if has_tls else [],
            details=results_panel(tests, links_to_editor=False) if tests else "",
            is_outdated=bool(tests) and not is_current(self.host, tests),
            is_running=any(not test.is_over for test in tests),
            has_tls=has_tls,
            works=works(self.host, tests),
            demands=any(map(demands_certificate, findings)),
            is_blocked=any(finding.kind == "danger" for finding in findings),
            trust_form=remedies.trust,
            name_form=remedies.name,
            proposes_name=remedies.name.is_bound or any(finding.is_name for finding in findings),
            names=tuple(dict.fromkeys(name for finding in findings for name in finding.server_names)),
            trusted=certificates_panel(configuration.ca_certificate_facts, now=timezone.now()),
            skips_verification=configuration.is_verification_skipped(timezone.now()),
        )

    def _remedies(self, findings: Sequence[Finding]) -> _Remedies:
        configuration, post = self.host.upstream_configuration, self.request.POST
        proposed = next((name for finding in findings for name in finding.server_names), configuration.server_name)
        is_trusting, trusted = self.asked == "ca", {"ca_certificate": configuration.ca_certificate}
        return _Remedies(
            trust=TrustForm(post, self.request.FILES) if is_trusting else TrustForm(initial=trusted),
            name=ServerNameForm(post if self.asked == "name" else None, initial={"server_name": proposed}),
            findings=findings,
        )

    def _put_right(self, remedies: _Remedies) -> HttpResponse | None:
        """Applies what was asked for and tests again; None: a form has errors."""
        host, user, post = self.host, self.user, self.request.POST

        def then_test(change: Callable[[], None]) -> Callable[[], HttpResponse]:
            def done() -> HttpResponse:
                change()
                return self.tested(self.step)

            return done

        match self.asked:
            case "ca":
                trust = remedies.trust
                return self.tried(
                    trust, then_test(lambda: services.set_trust(host=host, ca_pem=trust.pem(), user=user))
                )
            case "name":
                name = post.get("server_name", "")
                act = then_test(lambda: services.set_server_name(host=host, server_name=name, user=user))
                return self.tried(remedies.name, act)
            case "trust":
                anchor = anchor_in(remedies.findings, post.get("fingerprint", ""))
                if anchor is None:
                    text = "The last test did not show this certificate: compare the fingerprint again."
                    self.tell(text, messages.ERROR)
                    return self.to(self.step)
                return self.told(then_test(lambda: services.trust_also(host=host, pem=anchor.pem, user=user)))
            case "plain":
                upstream_id = post.get("upstream", "")
                return self.told(then_test(lambda: services.speak_plain(host=host, upstream_id=upstream_id, user=user)))
        return self.tested(self.step)


class CertificatePage(StepPage):
    """The ways to a client certificate, and the way without."""

    template = "certificate"

    def answer(self) -> HttpResponse:
        is_upload = self.asked == "upload"
        sent = (self.request.POST, self.request.FILES) if is_upload else ()
        form = UploadForm(*sent, instance=self.host)
        form.user_id = self.user.pk
        done = None
        if self.asked == "issue":
            done = self._issue()
        elif self.asked == "none":
            done = self.told(self._present_nothing)
        elif is_upload:
            done = self.tried(form, lambda: self._install(form))
        return done or self._page(form, is_upload=is_upload)

    def _page(self, form: UploadForm, *, is_upload: bool) -> HttpResponse:
        # Read anew: a refused form leaves its values on the instance.
        configuration = Host.objects.with_configuration().get(pk=self.host.pk).upstream_configuration
        findings = [finding_of(test) for test in latest_tests(self.host)]
        accepted = tuple(dict.fromkeys(name for finding in findings for name in finding.accepted_cas))
        local = {subject_name(root.certificate) for root in trust_anchors()}
        return self.show(
            form=form,
            is_upload=is_upload,
            demands=any(map(demands_certificate, findings)),
            accepted_cas=accepted,
            accepts_local_ca=bool(local & set(accepted)),
            presented=certificates_panel(configuration.client_certificate_facts, now=timezone.now()),
            is_presenting=configuration.enabled,
            may_issue=self.user.has_perm(ISSUE_PERMISSION),
            requests=self.admin.certificate_requests(self.host),
        )

    def _issue(self) -> HttpResponse:
        if not self.user.has_perm(ISSUE_PERMISSION):
            raise PermissionDenied

        def issue() -> HttpResponse:
            record = install_issued_certificate(host=self.host, user=self.user)
            self.tell(issued_message(record), messages.SUCCESS)
            return self.to(Step.SERVER)

        return self.told(issue)

    def _install(self, form: UploadForm) -> HttpResponse:
        services.present(host=self.host, changes=form.changes, user=self.user)
        for notice in form.notices:
            self.tell(notice, messages.INFO)
        return self.to(Step.SERVER)

    def _present_nothing(self) -> HttpResponse:
        services.present_nothing(host=self.host, user=self.user)
        return self.tested(Step.TEST)


class ServerPage(StepPage):
    """Files and configuration for the upstream; a POST says that they are in place, and tests."""

    template = "server"

    def answer(self) -> HttpResponse:
        if self.is_post:
            return self.tested(Step.TEST)
        setup = setup_for(self.host) if is_needed(Step.SERVER, self.host) else None
        return self.show(setup=setup, files_url=reverse("admin:hosts_host_upstream_setup", args=[self.host.pk]))


class LivePage(StepPage):
    """The button, and then how the workers take it up."""

    template = "live"

    def answer(self) -> HttpResponse:
        is_proved = not tls_upstreams(self.host) or works(self.host, latest_tests(self.host))
        if self.is_post and not self.host.enabled:
            if is_proved or self.asked == "anyway":
                return self.told(self._go_live)
            self.tell("The test of what is saved has to pass first.", messages.ERROR)
            return self.to(Step.LIVE)
        now, configuration = timezone.now(), self.host.upstream_configuration
        state = published_state(self.host.pk, now=now) if self.host.enabled else None
        is_served = state is not None and any(each.verdict is Verdict.ACCEPTED for each in state.verdicts)
        is_awaited = self.host.enabled and not is_served and now - self.host.updated_at < _REFRESHED_FOR
        return self.show(
            is_proved=is_proved,
            has_tls=bool(tls_upstreams(self.host)),
            state=state,
            is_served=is_served,
            refresh_s=_REFRESH_S if is_awaited else None,
            upstreams=list(self.host.upstreams.all()),
            domains=[domain.name for domain in self.host.domains.all()],
            presented=configuration.client_certificate_facts[:1] if configuration.enabled else (),
            curl=self._curl(),
        )

    def _go_live(self) -> HttpResponse:
        services.go_live(host=self.host, user=self.user)
        return self.to(Step.LIVE)

    def _curl(self) -> str:
        return curl_line(
            next((domain.name for domain in self.host.domains.all()), ""),
            http=settings.AEGIS_PROXY_HTTP,
            https=settings.AEGIS_PROXY_HTTPS,
            has_certificate=bool(self.host.downstream_configuration.certificate),
        )


PAGES: dict[Step, type[StepPage]] = {
    Step.DOMAINS: DomainsPage,
    Step.UPSTREAMS: UpstreamsPage,
    Step.CHECK: CheckPage,
    Step.CERTIFICATE: CertificatePage,
    Step.SERVER: ServerPage,
    Step.TEST: CheckPage,
    Step.LIVE: LivePage,
}


def step_url(host: Host, step: Step) -> str:
    """The address of a step's page."""
    return reverse("admin:hosts_host_set_up_step", args=[host.pk, step.value])
