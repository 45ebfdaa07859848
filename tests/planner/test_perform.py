"""Whoever plans, what comes out can be searched."""

import asyncio

import pytest

from services.planner.perform import Planner
from services.planner.prompt import PlanReply
from shared.contracts.evidence import Call, Usage, usage_of
from shared.contracts.facts import PlanMade
from shared.contracts.tasks import PlanTask
from shared.errors import Terminal
from shared.models.offline import OfflineModel
from shared.models.protocol import Answer

CALL = Call("planner", "m-1", "v1", 10, 5, 0.25)
SPENT = usage_of((CALL,))


class Saying:
    """A model that plans what it was told to."""

    def __init__(self, *queries):
        self.queries = list(queries)

    async def answer(self, ask):
        return Answer(PlanReply(queries=self.queries), "m-1", SPENT, calls=(CALL,))

    async def aclose(self):
        pass


def planned(model, task) -> PlanMade:
    return asyncio.run(Planner(model).perform(task))


def test_a_models_queries_are_taken_as_they_are():
    made = planned(Saying("asyncio.TaskGroup errors", "C#"), PlanTask("q"))
    assert made == PlanMade(queries=("asyncio.TaskGroup errors", "C#"), planner="m-1", usage=SPENT, calls=(CALL,))


def test_queries_are_cleaned_and_none_is_asked_twice():
    queries = ['  "Task  groups" ', "task groups", "\n", "!!", "`gather`", "Asked before"]
    made = planned(Saying(*queries[:5]), PlanTask("q"))
    assert made.queries == ("Task groups", "gather")
    made = planned(Saying("asked BEFORE", "new"), PlanTask("q", asked=("Asked before",)))
    assert made.queries == ("new",)


def test_a_model_that_only_repeats_itself_gives_way_to_the_rule():
    made = planned(Saying("contextvars"), PlanTask("What is contextvars?", asked=("contextvars",)))
    assert made.planner == "offline"
    assert "m-1" in made.degraded
    assert made.queries
    assert "contextvars" not in made.queries
    assert (made.usage, made.calls) == (SPENT, (CALL,))


@pytest.mark.parametrize(("model", "calls"), [(OfflineModel(), ()), (Saying("???"), (CALL,))])
def test_nothing_to_search_for_is_terminal_and_was_paid_for_all_the_same(model, calls):
    with pytest.raises(Terminal) as caught:
        planned(model, PlanTask("???"))
    assert (caught.value.code, caught.value.calls) == ("no_query", calls)


def test_the_offline_plan_is_not_called_degraded():
    made = planned(OfflineModel(), PlanTask("How does sqlite3 handle transactions, and what are its limits?"))
    assert (made.planner, made.degraded, made.usage) == ("offline", None, Usage())
    assert 3 <= len(made.queries) <= 5
