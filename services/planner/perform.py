"""One planning step: ask, clean what comes back, make sure that it can be searched."""

import re
from collections.abc import Iterable
from typing import Final

from services.planner.prompt import ask, by_rule
from services.planner.rule import MOST
from shared.contracts.facts import PlanMade
from shared.contracts.tasks import PlanTask
from shared.errors import Terminal
from shared.models.offline import OFFLINE
from shared.models.protocol import Model

_SEARCHABLE: Final = re.compile(r"[^\W_]")
_MARKS: Final = str.maketrans(dict.fromkeys('"“”«»`', " "))


class Planner:
    """Breaks questions into sub-queries with `model`."""

    def __init__(self, model: Model) -> None:
        self._model = model

    async def perform(self, task: PlanTask) -> PlanMade:
        """One to five distinct queries, none asked in an earlier round.

        Where the model only repeats what was asked, the rule plans. Raises `Terminal` when that
        too finds nothing to search for, and whatever `StepError` the model raises.
        """
        answer = await self._model.answer(ask(task))
        queries = usable(answer.value.queries, task.asked)
        if queries:
            return PlanMade(queries=queries, planner=answer.model, degraded=answer.degraded, usage=answer.usage)
        queries = usable(by_rule(task).queries, task.asked)
        if not queries:
            raise Terminal("no_query", "The question, and what was said of it, left nothing new to search for.")
        why = answer.degraded or f"{answer.model} planned no new query, so these were made by rule."
        return PlanMade(queries=queries, planner=OFFLINE, degraded=why, usage=answer.usage)


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
