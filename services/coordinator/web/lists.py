"""The inbox's lists as HTML, each made at most once a second, however many pages show it."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from markupsafe import Markup
from msgspec import Struct

from services.coordinator.engine.loop import Coordinator
from services.coordinator.engine.projection import Wanted
from services.coordinator.engine.summary import SHOWS, Show
from services.coordinator.web import render

_LASTS_S: Final = 1.0
_REMEMBERED: Final = 50
WAITING: Final = 1_000
"""So many runs that wait for a decision are on one page."""
OTHERS: Final = 200
"""So many of any others; the older ones are on pages of their own."""
PERIODS: Final[Mapping[str, tuple[str, timedelta | None]]] = {
    "": ("any time", None),
    "1h": ("the last hour", timedelta(hours=1)),
    "24h": ("the last day", timedelta(days=1)),
    "7d": ("the last week", timedelta(days=7)),
    "30d": ("the last month", timedelta(days=30)),
}
_NOTHING: Final[Mapping[Show, str]] = {
    "waiting": "Nothing waits for a decision.",
    "running": "Nothing is under way.",
    "finished": "Nothing has finished yet.",
    "failed": "Nothing has failed.",
    "all": "Nobody has asked anything yet.",
}


class Want(Struct, frozen=True):
    """Which list: a tab, what it is narrowed to, from where on, and whether its rows can be picked."""

    show: Show
    text: str = ""
    period: str = ""
    code: str = ""
    late: bool = False
    before: int | None = None
    picks: bool = False

    @property
    def is_narrowed(self) -> bool:
        """Whether something beside the tab says what is in it."""
        return bool(self.text or self.period or self.code or self.late)


class Listed(Struct, frozen=True):
    """A list as it stood at `seq` of the log: its rows, how many runs are open, and where older ones begin."""

    seq: int
    made_s: float
    rows: Markup
    counts: Mapping[str, int]
    older: int | None


class Lists:
    """Makes lists from the projection, and keeps those that were looked at last."""

    def __init__(self, coordinator: Coordinator, late_after: timedelta) -> None:
        self._coordinator = coordinator
        self._late_after = late_after
        self._kept: OrderedDict[Want, Listed] = OrderedDict()

    def now(self, want: Want, *, at: int = 0) -> Listed:
        """The list at once, with what the log has up to `at`; of what came after that, perhaps a second ago."""
        kept = self._kept.get(want)
        return kept if kept and kept.seq >= at and self._age_s(kept) < _LASTS_S else self._made(want)

    async def fresh(self, want: Want) -> Listed:
        """The list with everything that is known by now, as soon as it may be made again."""
        wanted, kept = self._coordinator.fold.seq, self._kept.get(want)
        if kept and kept.seq < wanted:
            await asyncio.sleep(max(0.0, _LASTS_S - self._age_s(kept)))
        return self.now(want, at=wanted)

    def _age_s(self, kept: Listed) -> float:
        return asyncio.get_running_loop().time() - kept.made_s

    def _made(self, want: Want) -> Listed:
        made = self._kept[want] = self._make(want)
        self._kept.move_to_end(want)
        while len(self._kept) > _REMEMBERED:
            self._kept.popitem(last=False)
        return made

    def _make(self, want: Want) -> Listed:
        saved, now = self._coordinator.saved, self._coordinator.now()
        period = PERIODS[want.period][1]
        wanted = Wanted(
            SHOWS[want.show] if want.show != "all" else (),
            want.text,
            want.code,
            now - period if period else None,
            now - self._late_after if want.late else None,
        )
        is_waiting = want.show == "waiting"
        limit = WAITING if is_waiting else OTHERS
        rows = saved.rows(wanted, before=want.before, limit=limit + 1, by_deadline=is_waiting)
        shown = rows[:limit]
        nothing = "Nothing fits." if want.is_narrowed else _NOTHING[want.show]
        return Listed(
            seq=self._coordinator.fold.seq,
            made_s=asyncio.get_running_loop().time(),
            rows=render.page("rows.html", now=now, rows=shown, picks=want.picks, nothing=nothing),
            counts={show: saved.count(SHOWS[show]) for show in ("waiting", "running")},
            older=shown[-1].place if len(rows) > limit and not is_waiting else None,
        )
