"""What a process and all its descendants have used, from /proc."""

import os
from dataclasses import dataclass
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

# proc(5): fields of /proc/PID/stat, counted behind the command, which may itself hold spaces and parentheses.
_PARENT, _UTIME, _STIME, _RSS = 1, 11, 12, 21


@dataclass(frozen=True)
class Usage:
    """CPU seconds in user and in system mode since the start, and resident memory now."""

    user_s: float
    system_s: float
    rss_bytes: int

    def since(self, earlier: "Usage") -> "Usage":
        """What was used between the two; the memory is that of the end."""
        return Usage(self.user_s - earlier.user_s, self.system_s - earlier.system_s, self.rss_bytes)


def usage_of(pid: int) -> Usage:
    """Of the process and those that descend from it and live now."""
    rows = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            rows[int(path.parent.name)] = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # ended meanwhile
    family = {pid}
    grown = True
    while grown:
        found = {each for each, row in rows.items() if int(row[_PARENT]) in family} - family
        family |= found
        grown = bool(found)
    members = [rows[each] for each in family if each in rows]
    return Usage(
        user_s=sum(int(row[_UTIME]) for row in members) * _TICK_S,
        system_s=sum(int(row[_STIME]) for row in members) * _TICK_S,
        rss_bytes=sum(int(row[_RSS]) for row in members) * _PAGE_BYTES,
    )
