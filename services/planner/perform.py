"""The planning step: ask the model, clean its queries, and fall back to the rule."""

import re
from collections.abc import Iterable
from typing import Final

from services.planner.prompt import DEFAULT_ROOM, ask, plan_by_rule
from services.planner.rule import MOST
from shared.contracts.facts import PlanMade
from shared.contracts.tasks import PlanTask
from shared.errors import Terminal
from shared.models.context_window import ContextWindow
from shared.models.offline import OFFLINE
from shared.models.protocol import Model

_SEARCHABLE: Final = re.compile(r"[^\W_]")
_MARKS: Final = str.maketrans(dict.fromkeys('"“”«»`', " "))


class Planner:
    """Splits questions into sub-queries with `model`, within the context window `room`."""

    def __init__(self, model: Model, *, room: ContextWindow = DEFAULT_ROOM) -> None:
        self._model = model
        self._room = room

    async def perform(self, task: PlanTask) -> PlanMade:
        """Return one to five distinct queries, none of them asked in an earlier round.

        If the model only repeats earlier queries, the plan is made by rule and marked as degraded. Raises `Terminal`
        (`no_query`) if the rule finds nothing either, and every `StepError` of the model.
        """
        answer = await self._model.answer(ask(task, self._room))
        queries, planner, degraded = clean_queries(answer.value.queries, task.asked), answer.model, answer.degraded
        if not queries:
            queries, planner = clean_queries(plan_by_rule(task).queries, task.asked), OFFLINE
            degraded = degraded or f"{answer.model} planned no new query, so these were made by rule."
        if not queries:
            error = Terminal("no_query", "Question and feedback contain nothing new to search for.")
            error.calls = answer.calls
            raise error
        return PlanMade(queries=queries, planner=planner, degraded=degraded, usage=answer.usage, calls=answer.calls)


def clean_queries(queries: Iterable[str], asked: Iterable[str]) -> tuple[str, ...]:
    """Return at most five queries, cleaned, in order, without repetitions, those in `asked`, and those without a letter
    or digit.

    Queries are compared case-insensitively.
    """
    known = {clean_query(query).casefold() for query in asked}
    fresh: dict[str, str] = {}
    for query in map(clean_query, queries):
        if _SEARCHABLE.search(query) and query.casefold() not in known:
            fresh.setdefault(query.casefold(), query)
    return tuple(fresh.values())[:MOST]


def clean_query(query: str) -> str:
    """Return `query` on one line, without quotation marks and backticks."""
    return " ".join(query.translate(_MARKS).split())
