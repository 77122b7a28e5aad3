"""Makes the hosts of this installation those of a document: all of them or none.

Laws of this module:
- What may be stored is decided where it always is, by `hosts.drafts`. All of that comes before the transaction; inside
  there are few statements for many hosts (`hosts.exchange.writing`), because a database with one writer keeps all
  others waiting.
- Whoever changed one of these hosts meanwhile wins: then nothing is imported (HostsChanged).
- One transaction, one publication. A trial run does all of it and then undoes it, so it knows what a real run would.
- A host that no entry names is deleted only when that was asked for with the right number of such hosts.
- What is shown of secrets is that they changed.
- The audit log has one entry for each host, with what it was before room was made, and one for the import.
"""

import dataclasses
import uuid
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from aegis_site.kernel.audit.actor import Actor
from aegis_site.kernel.audit.changes import Change, differences
from aegis_site.kernel.audit.recording import Recording, continuing
from aegis_site.kernel.audit.services import record
from aegis_site.kernel.problems import FieldError, field_errors
from hosts.audit import HOSTS, described
from hosts.bulk import seal
from hosts.downstream_tls import issue_certificate
from hosts.drafts import HostDraft, draft_host
from hosts.exchange.claims import PlannedClaims
from hosts.exchange.documents import HostDocuments, comparable, masked
from hosts.exchange.incoming import IncomingEntries
from hosts.exchange.matching import Match, match_entries
from hosts.exchange.sealing import PassphraseSealer
from hosts.exchange.writing import check_versions, write_drafts
from hosts.models import Host
from hosts.publish import publish_on_commit, publishing_together
from hosts.services import delete_hosts
from hosts.specs import HostSpec, UpstreamSpec
from upstream_tls.changes import Keep

_MAX_SHOWN_NAME = 100


class OnMissing(StrEnum):
    """What becomes of hosts that the document does not name."""

    KEEP = "keep"
    DELETE = "delete"


class Outcome(StrEnum):
    """What becomes of one host."""

    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    DELETED = "deleted"
    FAILED = "failed"


# Of these the audit log has the numbers.
_NOTED = (Outcome.CREATED, Outcome.CHANGED, Outcome.DELETED)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOutcome:
    """One host of the document, in its order, or one that is deleted, which has no position."""

    position: int | None
    id: str
    name: str
    outcome: Outcome
    changes: list[Change] = field(default_factory=list)
    errors: list[FieldError] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResult:
    """What an import did, or would do."""

    is_dry_run: bool
    hosts: list[HostOutcome]

    def count(self, outcome: Outcome) -> int:
        """How many hosts met with it."""
        return sum(host.outcome is outcome for host in self.hosts)

    def raise_if_failed(self) -> None:
        """Raises ValidationError with every error, keyed by path within the document."""
        problems: dict[str, list[ValidationError]] = {}
        for host in self.hosts:
            for error in host.errors:
                problems.setdefault(error["field"], []).append(ValidationError(error["message"], error["code"]))
        if problems:
            raise ValidationError(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """How to import.

    `delete_count` is how many hosts the caller expects to be deleted; a trial run needs none. `may_issue`: whether the
    local CA may be asked for certificates.
    """

    is_dry_run: bool = False
    on_missing: OnMissing = OnMissing.KEEP
    delete_count: int | None = None
    may_issue: bool = False


class _Undo(Exception):
    """Leaves the transaction without its changes."""


def import_hosts(
    entries: Sequence[dict[str, Any]], *, sealer: PassphraseSealer | None, options: ImportOptions, user: Actor | None
) -> Generator[int, None, ImportResult]:
    """Yields after each entry how many are checked, and returns the result.

    Unless it is a trial run, raises ValidationError with every error of every entry; then nothing was changed. The same
    happens when the generator is closed before its end. Raises HostsChanged, and what the services raise.
    """
    run = _Import(entries, sealer, options, user)
    for match in run.matches:
        run.check(match)
        yield match.position + 1
    try:
        with transaction.atomic():
            result = run.write()
            if options.is_dry_run:
                raise _Undo
    except _Undo:
        pass
    return result


def finish(
    running: Generator[int, None, ImportResult], *, on_progress: Callable[[int], None] = lambda done: None
) -> ImportResult:
    """Runs an import to its end. `on_progress` hears how many entries are done. Raises what the import raises."""
    while True:
        try:
            done = next(running)
        except StopIteration as end:
            result: ImportResult = end.value
            return result
        on_progress(done)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """A host that is to be written. `before` is its comparable document, None for a new host."""

    match: Match
    draft: HostDraft
    before: dict[str, Any] | None


class _Import:
    """One run: first each entry is checked, then all of them are written."""

    def __init__(
        self,
        entries: Sequence[dict[str, Any]],
        sealer: PassphraseSealer | None,
        options: ImportOptions,
        user: Actor | None,
    ) -> None:
        self._incoming = IncomingEntries(sealer)
        self._options = options
        self._user = user
        self._recording = Recording(user=user)
        self._documents = HostDocuments()
        hosts = Host.objects.with_configuration().in_bulk()
        self._upstream_ids = {upstream.pk for host in hosts.values() for upstream in host.upstreams.all()}
        self.matches = match_entries(entries, hosts.values())
        self._unchanged = {match.position for match in self.matches if self._is_same(match)}
        named = {match.stored.pk for match in self.matches if match.stored}
        is_deleting = options.on_missing is OnMissing.DELETE
        self._missing = [host for host in hosts.values() if host.pk not in named] if is_deleting else []
        self._check_delete_count()
        # What the result speaks of; nobody may have changed that when it is written.
        read = hosts.values() if is_deleting else [match.stored for match in self.matches if match.stored]
        self._versions = {host.pk: host.updated_at for host in read}
        self._claims = PlannedClaims(hosts, self.matches, kept=self._unchanged, deleted=self._missing)
        self._outcomes: list[HostOutcome] = []
        self._works: list[_Work] = []

    def check(self, match: Match) -> None:
        """Finds out what becomes of one entry. No query."""
        if match.stored and match.position in self._unchanged:
            self._outcomes.append(_outcome(match, match.stored.pk, Outcome.UNCHANGED))
            return
        try:
            if match.errors:
                raise ValidationError(match.errors)
            self._outcomes.append(self._checked(match, self._spec(match)))
        except ValidationError as error:
            errors = _below(f"hosts[{match.position}]", error)
            self._outcomes.append(_outcome(match, match.host_id, Outcome.FAILED, errors=errors))

    def write(self) -> ImportResult:
        """Inside the transaction: all that was found, or of a trial run what can be. Raises ValidationError."""
        result = ImportResult(is_dry_run=self._options.is_dry_run, hosts=self._outcomes)
        if not self._options.is_dry_run:
            result.raise_if_failed()
        to_publish: set[uuid.UUID] = set()
        check_versions(self._versions, is_everything=self._options.on_missing is OnMissing.DELETE)
        with publishing_together(to_publish), continuing(self._recording):
            if self._missing:
                delete_hosts(hosts=self._missing, user=self._user)
            for work in self._works:
                if work.draft.is_issuing:
                    self._issue(work)
        write_drafts([work.draft for work in self._works])
        self._outcomes += [
            HostOutcome(position=None, id=str(host.pk), name=host.name, outcome=Outcome.DELETED)
            for host in self._missing
        ]
        self._note(result)
        publish_on_commit(to_publish | {work.draft.host.pk for work in self._works})
        return result

    def _checked(self, match: Match, spec: HostSpec) -> HostOutcome:
        host = match.stored or (Host(id=match.host_id) if match.host_id else Host())
        before = self._documents.document_of(host, comparable) if match.stored else None
        recorded = {host.pk: described(host)} if match.stored else {}
        draft = draft_host(host, spec, claims=self._claims, user=self._user)
        self._claims.claim(host, draft.domains or ())
        work = _Work(match=match, draft=draft, before=before)
        outcome = self._outcome_of(work)
        if outcome.outcome is not Outcome.UNCHANGED or draft.is_issuing:
            # Written otherwise, but the same, is no new version and no history.
            self._works.append(work)
            self._recording.remember(HOSTS, [host.pk], found=recorded)
            self._prepare(work)
        return outcome

    def _prepare(self, work: _Work) -> None:
        """All that can be done before the transaction."""
        if not work.draft.is_issuing:
            host = work.draft.as_loaded()
            self._recording.found_after(HOSTS, host.pk, described(host))
        for row in work.draft.rows:
            seal(row)

    def _outcome_of(self, work: _Work) -> HostOutcome:
        host = work.draft.as_loaded()
        if work.before is None:
            return _outcome(work.match, host.pk, Outcome.CREATED)
        changes = differences(work.before, self._documents.document_of(host, comparable))
        outcome = Outcome.CHANGED if changes else Outcome.UNCHANGED
        return _outcome(work.match, host.pk, outcome, changes=masked(changes))

    def _issue(self, work: _Work) -> None:
        """Only what is written can have a certificate, so the outcome is known only now."""
        draft = work.draft
        issue_certificate(draft.downstream, host=draft.host, domains=draft.names)
        self._outcomes[work.match.position] = self._outcome_of(work)

    def _check_delete_count(self) -> None:
        count = len(self._missing)
        if count and not self._options.is_dry_run and self._options.delete_count != count:
            are = "host is" if count == 1 else "hosts are"
            message = f"{count} {are} not in the document and would be deleted: say so with that number."
            raise ValidationError({"delete_count": ValidationError(message, code="delete_count")})

    def _note(self, result: ImportResult) -> None:
        """Writes the audit log. Nothing, when nothing has changed."""
        self._recording.write()
        counts = {outcome: result.count(outcome) for outcome in _NOTED if result.count(outcome)}
        if counts:
            record(
                user=self._user,
                action="imported",
                target_type="hosts",
                target_id="",
                target_name=", ".join(f"{count} {outcome}" for outcome, count in counts.items()),
                changes=[Change(field=str(outcome), before=None, after=count) for outcome, count in counts.items()],
            )

    def _is_same(self, match: Match) -> bool:
        """Whether an entry is, to the letter, what an export says now, so that there is nothing to check."""
        if match.stored is None or match.errors:
            return False
        return match.entry == self._documents.document_of(match.stored, self._incoming.secrets_as_in(match.entry))

    def _spec(self, match: Match) -> HostSpec:
        spec = self._incoming.spec_of(match.entry, stored=match.stored)
        if spec.downstream_tls.issue is True and not self._options.may_issue:
            message = "You may not have certificates issued."
            raise ValidationError({"downstream_tls.issue": ValidationError(message, code="permission_denied")})
        upstreams = () if isinstance(spec.upstreams, Keep) else spec.upstreams
        return dataclasses.replace(spec, upstreams=tuple(self._with_free_id(match, upstream) for upstream in upstreams))

    def _with_free_id(self, match: Match, spec: UpstreamSpec) -> UpstreamSpec:
        """An upstream keeps its id in another installation, unless it has another meaning there."""
        if spec.upstream_id is None or not match.is_by_id:
            return dataclasses.replace(spec, upstream_id=None)
        if spec.upstream_id not in self._upstream_ids:
            self._upstream_ids.add(spec.upstream_id)
            return dataclasses.replace(spec, brings_id=True)
        own = {upstream.pk for upstream in match.stored.upstreams.all()} if match.stored else set()
        return spec if spec.upstream_id in own else dataclasses.replace(spec, upstream_id=None)


def _outcome(match: Match, host_id: uuid.UUID | None, outcome: Outcome, **details: Any) -> HostOutcome:
    # A name that was refused may be of any length, and have lone surrogates, which could not be sent back.
    name = match.name[:_MAX_SHOWN_NAME].encode("utf-8", "replace").decode()
    return HostOutcome(position=match.position, id=str(host_id or ""), name=name, outcome=outcome, **details)


def _below(path: str, error: ValidationError) -> list[FieldError]:
    return [
        FieldError(
            field=f"{path}.{problem['field']}" if problem["field"] else path,
            code=problem["code"],
            message=problem["message"],
        )
        for problem in field_errors(error)
    ]
