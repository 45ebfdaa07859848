"""Lists of the inbox as HTML, each rendered at most once a second for all pages."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from markupsafe import Markup
from msgspec import Struct

from services.coordinator.engine.loop import Coordinator
from services.coordinator.engine.projection import RunFilter
from services.coordinator.engine.summary import SHOWS, Show
from services.coordinator.web import render

_LASTS_S: Final = 1.0
_REMEMBERED: Final = 50
MAX_WAITING: Final = 1_000
"""So many runs that wait for a decision are on one page."""
MAX_OTHERS: Final = 200
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
    "all": "There are no runs yet.",
}


class ListQuery(Struct, frozen=True):
    """A list: its tab and filters, the cursor `before`, and whether its rows can be ticked (`picks`)."""

    show: Show
    text: str = ""
    period: str = ""
    code: str = ""
    late: bool = False
    before: int | None = None
    picks: bool = False

    @property
    def is_narrowed(self) -> bool:
        """Return True if a filter beside the tab is set."""
        return bool(self.text or self.period or self.code or self.late)


class RenderedList(Struct, frozen=True):
    """A list at the sequence `seq` of the log: its rows as HTML, numbers of waiting and running runs, and the cursor of
    older runs. `made_s` is the loop's time, in seconds, when it was rendered.
    """

    seq: int
    made_s: float
    rows: Markup
    counts: Mapping[str, int]
    older: int | None


class Lists:
    """Renders lists from the projection, and caches the 50 that were requested last."""

    def __init__(self, coordinator: Coordinator, late_after: timedelta) -> None:
        self._coordinator = coordinator
        self._late_after = late_after
        self._kept: OrderedDict[ListQuery, RenderedList] = OrderedDict()

    def now(self, want: ListQuery, *, at: int = 0) -> RenderedList:
        """The list without waiting: at most 1 s old, and not older than the sequence `at` if that is folded."""
        kept = self._kept.get(want)
        return kept if kept and kept.seq >= at and self._age_s(kept) < _LASTS_S else self._made(want)

    async def fresh(self, want: ListQuery) -> RenderedList:
        """The list with all that is folded when this is called. Waits until a cached list is 1 s old."""
        wanted, kept = self._coordinator.fold.seq, self._kept.get(want)
        if kept and kept.seq < wanted:
            await asyncio.sleep(max(0.0, _LASTS_S - self._age_s(kept)))
        return self.now(want, at=wanted)

    def _age_s(self, kept: RenderedList) -> float:
        return asyncio.get_running_loop().time() - kept.made_s

    def _made(self, want: ListQuery) -> RenderedList:
        """Render the list and cache it."""
        made = self._kept[want] = self._make(want)
        self._kept.move_to_end(want)
        while len(self._kept) > _REMEMBERED:
            self._kept.popitem(last=False)
        return made

    def _make(self, want: ListQuery) -> RenderedList:
        """Render the list: at most 1,000 waiting runs by deadline, 200 others by age."""
        saved, now = self._coordinator.saved, self._coordinator.now()
        period = PERIODS[want.period][1]
        wanted = RunFilter(
            SHOWS[want.show] if want.show != "all" else (),
            want.text,
            want.code,
            now - period if period else None,
            now - self._late_after if want.late else None,
        )
        is_waiting = want.show == "waiting"
        limit = MAX_WAITING if is_waiting else MAX_OTHERS
        rows = saved.rows(wanted, before=want.before, limit=limit + 1, by_deadline=is_waiting)
        shown = rows[:limit]
        nothing = "Nothing fits." if want.is_narrowed else _NOTHING[want.show]
        return RenderedList(
            seq=self._coordinator.fold.seq,
            made_s=asyncio.get_running_loop().time(),
            rows=render.page("rows.html", now=now, rows=shown, picks=want.picks, nothing=nothing),
            counts={show: saved.count(SHOWS[show]) for show in ("waiting", "running")},
            older=shown[-1].place if len(rows) > limit and not is_waiting else None,
        )
