"""One planning step: ask, clean what comes back, make sure that it can be searched."""

import re
from collections.abc import Iterable
from typing import Final

from services.planner.prompt import DEFAULT_ROOM, ask, by_rule
from services.planner.rule import MOST
from shared.contracts.facts import PlanMade
from shared.contracts.tasks import PlanTask
from shared.errors import Terminal
from shared.models.context_window import Room
from shared.models.offline import OFFLINE
from shared.models.protocol import Model

_SEARCHABLE: Final = re.compile(r"[^\W_]")
_MARKS: Final = str.maketrans(dict.fromkeys('"“”«»`', " "))


class Planner:
    """Breaks questions into sub-queries with `model`, which has so much `room`."""

    def __init__(self, model: Model, *, room: Room = DEFAULT_ROOM) -> None:
        self._model = model
        self._room = room

    async def perform(self, task: PlanTask) -> PlanMade:
        """One to five distinct queries, none asked in an earlier round.

        Where the model only repeats what was asked, the rule plans. Raises `Terminal` when that
        too finds nothing to search for, and whatever `StepError` the model raises.
        """
        answer = await self._model.answer(ask(task, self._room))
        queries, planner, degraded = usable(answer.value.queries, task.asked), answer.model, answer.degraded
        if not queries:
            queries, planner = usable(by_rule(task).queries, task.asked), OFFLINE
            degraded = degraded or f"{answer.model} planned no new query, so these were made by rule."
        if not queries:
            error = Terminal("no_query", "The question, and what was said of it, left nothing new to search for.")
            error.calls = answer.calls
            raise error
        return PlanMade(queries=queries, planner=planner, degraded=degraded, usage=answer.usage, calls=answer.calls)


def usable(queries: Iterable[str], asked: Iterable[str]) -> tuple[str, ...]:
    """Those that can be searched for, on one line each, less those asked before and repetitions; at most five."""
    known = {tidy(query).casefold() for query in asked}
    fresh: dict[str, str] = {}
    for query in map(tidy, queries):
        if _SEARCHABLE.search(query) and query.casefold() not in known:
            fresh.setdefault(query.casefold(), query)
    return tuple(fresh.values())[:MOST]


def tidy(query: str) -> str:
    """`query` on one line, without the quotation marks that models put on it."""
    return " ".join(query.translate(_MARKS).split())
