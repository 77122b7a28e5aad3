"""Makes the hosts of this installation those of a document: all of them or none.

Laws of this module:
- A host is created and changed by `hosts.services`, so what may be stored is decided where it always is. Nothing is
  written around it but to make room: a name or domain that moves from one host to another is taken from the first
  before the second gets it.
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
from hosts.exchange.documents import HostDocuments, comparable, masked
from hosts.exchange.incoming import IncomingEntries
from hosts.exchange.matching import Match, match_entries
from hosts.exchange.sealing import PassphraseSealer
from hosts.models import Domain, Host
from hosts.publish import publish_on_commit, publishing_together
from hosts.services import create_host, delete_hosts, update_host
from hosts.specs import HostSpec, UpstreamSpec
from upstream_tls.changes import Keep

# Below what any database takes as parameters of one query.
_ROWS_PER_QUERY = 500
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
    """Yields after each entry how many are done, and returns the result.

    Unless it is a trial run, raises ValidationError with every error of every entry; then nothing was changed. The same
    happens when the generator is closed before its end. Raises what the services raise.
    """
    outcomes: list[HostOutcome] = []
    try:
        with transaction.atomic():
            run = _Import(entries, sealer, options, user)
            deleted = run.delete_missing()
            run.make_room()
            for match in run.matches:
                outcomes.append(run.outcome_of(match))
                yield match.position + 1
            outcomes.extend(deleted)
            result = ImportResult(is_dry_run=options.is_dry_run, hosts=outcomes)
            if options.is_dry_run:
                raise _Undo
            result.raise_if_failed()
            run.note(result)
            publish_on_commit(run.to_publish)
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


class _Import:
    """One run, inside its transaction."""

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
        # Locked until the end, so that nobody else changes what the result speaks of.
        stored = list(Host.objects.select_for_update().values_list("pk", flat=True))
        hosts = Host.objects.with_configuration().in_bulk(stored)
        self._upstream_ids = {upstream.pk for host in hosts.values() for upstream in host.upstreams.all()}
        self.matches = match_entries(entries, hosts.values())
        self._unchanged = {match.position for match in self.matches if self._is_same(match)}
        self._moved: set[uuid.UUID] = set()
        self.to_publish: set[uuid.UUID] = set()
        named = {match.stored.pk for match in self.matches if match.stored}
        self._missing = [host for host in hosts.values() if host.pk not in named]

    def delete_missing(self) -> list[HostOutcome]:
        """Deletes the hosts that no entry names, if that was asked for."""
        if self._options.on_missing is OnMissing.KEEP or not self._missing:
            return []
        count = len(self._missing)
        if not self._options.is_dry_run and self._options.delete_count != count:
            are = "host is" if count == 1 else "hosts are"
            message = f"{count} {are} not in the document and would be deleted: say so with that number."
            raise ValidationError({"delete_count": ValidationError(message, code="delete_count")})
        with publishing_together(self.to_publish), continuing(self._recording):
            delete_hosts(hosts=self._missing, user=self._user)
        return [
            HostOutcome(position=None, id=str(host.pk), name=host.name, outcome=Outcome.DELETED)
            for host in self._missing
        ]

    def make_room(self) -> None:
        """Takes names and domains from the hosts that give them up."""
        given_up: list[int] = []
        for match in self.matches:
            host = match.stored
            if host is None or match.position in self._unchanged:
                continue
            self._recording.remember(HOSTS, [host.pk], found={host.pk: described(host)})
            if match.name != host.name:
                # A name that nobody has, until the host gets its own.
                Host.objects.filter(pk=host.pk).update(name=uuid.uuid4().hex)
                self._moved.add(host.pk)
            domains = [domain.pk for domain in host.domains.all() if domain.name not in match.domains]
            if domains:
                given_up += domains
                self._moved.add(host.pk)
        for start in range(0, len(given_up), _ROWS_PER_QUERY):
            Domain.objects.filter(pk__in=given_up[start : start + _ROWS_PER_QUERY]).delete()

    def outcome_of(self, match: Match) -> HostOutcome:
        """Creates or changes the host of one entry, if it may be."""
        if match.stored and match.position in self._unchanged:
            return _outcome(match, match.stored.pk, Outcome.UNCHANGED)
        try:
            if match.errors:
                raise ValidationError(match.errors)
            spec = self._spec(match)
            with publishing_together(self.to_publish), continuing(self._recording):
                return self._changed(match, match.stored, spec) if match.stored else self._created(match, spec)
        except ValidationError as error:
            return _outcome(match, match.host_id, Outcome.FAILED, errors=_below(f"hosts[{match.position}]", error))

    def note(self, result: ImportResult) -> None:
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

    def _created(self, match: Match, spec: HostSpec) -> HostOutcome:
        host = create_host(spec=spec, user=self._user, host_id=match.host_id)
        return _outcome(match, host.pk, Outcome.CREATED)

    def _changed(self, match: Match, stored: Host, spec: HostSpec) -> HostOutcome:
        before = self._documents.document_of(stored, comparable)
        changes: list[Change] = []
        try:
            with transaction.atomic():
                host = update_host(host=stored, spec=spec, user=self._user)
                changes = differences(before, self._documents.document_of(host, comparable))
                if not changes and stored.pk not in self._moved:
                    raise _Undo  # written otherwise, but the same: no new version, no history
        except _Undo:
            pass
        return _outcome(match, stored.pk, Outcome.CHANGED if changes else Outcome.UNCHANGED, changes=masked(changes))


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
