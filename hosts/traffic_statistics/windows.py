"""The times over which traffic is shown. Pure."""

from dataclasses import dataclass

from django.db import models

MINUTE_S = 60
TEN_MINUTES_S = 600
HOUR_S = 3600
DAY_S = 24 * HOUR_S


class Window(models.TextChoices):
    """How long a time is looked at, up to now."""

    HOUR = "1h", "1 hour"
    DAY = "24h", "24 hours"
    WEEK = "7d", "7 days"

    @property
    def length_s(self) -> int:
        return _WINDOWS[self][0]

    @property
    def step_s(self) -> int:
        """The time between two points: 60, 144 or 168 of them fill the window."""
        return _WINDOWS[self][1]

    @property
    def row_s(self) -> int:
        """The time of a row of a table: some of its steps."""
        return _WINDOWS[self][2]


_WINDOWS = {
    Window.HOUR: (HOUR_S, MINUTE_S, TEN_MINUTES_S),
    Window.DAY: (DAY_S, TEN_MINUTES_S, 2 * HOUR_S),
    Window.WEEK: (7 * DAY_S, HOUR_S, DAY_S // 2),
}


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps of a window: `count` of them, the last one being that which runs. Seconds of Unix time."""

    window: Window
    since_s: int
    until_s: float

    @classmethod
    def ending(cls, now_s: float, window: Window) -> "Steps":
        """Those up to `now_s`."""
        last = int(now_s) // window.step_s * window.step_s
        return cls(window, last - window.length_s + window.step_s, now_s)

    @property
    def starts(self) -> range:
        """When each of them begins, the oldest first."""
        return range(self.since_s, self.since_s + self.window.length_s, self.window.step_s)
