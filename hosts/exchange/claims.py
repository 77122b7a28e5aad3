"""Which names and domains belong to whom while the entries of a document are checked.

Laws of this module: what a host gives up is free from the beginning, whatever the order of the entries; what an entry
was given is taken for those that follow. No query.
"""

import uuid
from collections.abc import Collection, Mapping, Sequence

from hosts.exchange.matching import Match
from hosts.models import Host


class PlannedClaims:
    """The claims of hosts as they are, less what changed and deleted ones give up, and what was claimed since."""

    def __init__(
        self,
        hosts: Mapping[uuid.UUID, Host],
        matches: Sequence[Match],
        *,
        kept: Collection[int],
        deleted: Sequence[Host],
    ) -> None:
        """`kept` are the positions of entries that change nothing."""
        self._names: dict[str, uuid.UUID] = {}
        self._domains: dict[str, Host] = {}
        gone = {host.pk for host in deleted}
        changing = {match.stored.pk: match for match in matches if match.stored and match.position not in kept}
        for host in hosts.values():
            if host.pk in gone:
                continue
            match = changing.get(host.pk)
            if match is None or match.name == host.name:
                self._names[host.name] = host.pk
            for domain in host.domains.all():
                if match is None or domain.name in match.domains:
                    self._domains[domain.name] = host

    def claim(self, host: Host, domains: Sequence[str]) -> None:
        """They are the host's now."""
        self._names[host.name] = host.pk
        self._domains |= dict.fromkeys(domains, host)

    def is_name_taken(self, name: str, *, host_id: uuid.UUID) -> bool:
        """Whether another host has this name."""
        return self._names.get(name, host_id) != host_id

    def owners(self, domains: Sequence[str], *, host_id: uuid.UUID) -> Mapping[str, str]:
        """Of these domains those of other hosts, with the names of these."""
        found = {domain: self._domains[domain] for domain in domains if domain in self._domains}
        return {domain: host.name for domain, host in found.items() if host.pk != host_id}
