"""A recorded run done over with today's prompts and code: each answer of a model and each search is the recorded one.

Planner, synthesizer, the reading of replies and the coordinator are the product's own, over the log in memory.
Nothing reaches a network: the client of a model's endpoint has the recording in place of a connection.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import httpx2
import msgspec

from services.cli.commands.case import Case, RecordedCall, Recording, readable_prompt
from services.planner.perform import Planner
from services.synthesizer.perform import Synthesizer
from shared.contracts.evidence import Call, Failure, usage_of
from shared.contracts.facts import (
    Decision,
    DecisionApproved,
    DecisionExpired,
    DecisionRejected,
    DecisionRevised,
    FetchFailed,
    FetchFound,
    FetchOutcome,
    PlanMade,
)
from shared.contracts.subjects import Kind, parse_slot
from shared.contracts.tasks import FetchTask, PlanTask, SynthesizeTask
from shared.contracts.tokens import Tokens
from shared.domain.budget import WriterPricing
from shared.domain.decoding import decode_message
from shared.domain.inbound import Defaults
from shared.domain.replay import fold_facts
from shared.domain.run import Round, Run
from shared.models.context_window import UNKNOWN_CONTEXT, Agent, ContextWindow, window_of
from shared.models.offline import OfflineModel
from shared.models.openai import OpenAIModel
from shared.models.prices import Tariff
from shared.models.protocol import Answer, Ask, Model, Reply
from shared.runtime import clock
from shared.runtime.memory import MemoryLog
from shared.runtime.retry_policy import RetryPolicy
from shared.service.worker import Perform, require_task_type
from tests.dossier import Dossier, coordinating, working
from tests.evals.figures import Expected, Figures, figures

_URL: Final = "http://recorded.invalid/v1"
_WITHIN_S: Final = 60
_RUN: Final = "replayed"
_MARK: Final = re.compile(r"\b[0-9a-f]{16}\b")
"""What stands between passages depends on the evidence's digest, and so on when the run was made."""
_NOTHING: Final = {"choices": []}
"""What an endpoint says in place of a reply that is not recorded: a reply that is of no use."""


class Deviations:
    """Where today's run leaves the recorded one."""

    def __init__(self) -> None:
        self.changed: list[str] = []
        self.unrecorded: list[str] = []


class RecordedModel:
    """Answers as the model of `agent` did, call by call for each purpose, and notes what is asked otherwise today."""

    def __init__(self, said: Sequence[RecordedCall], run: Run, deviations: Deviations) -> None:
        self._said = _by_purpose(said, run)
        self._deviations = deviations

    async def answer(self, ask: Ask[Reply]) -> Answer[Reply]:
        """What the product makes of the recorded replies to this."""
        purpose = purpose_of(ask.agent, ask.prompt)
        steps = self._said.get(purpose, [])
        said = steps.pop(0) if steps else []
        endpoint = _Endpoint(purpose, said, self._deviations)
        name = said[0].call.model if said else "recorded"
        client = httpx2.AsyncClient(transport=httpx2.MockTransport(endpoint.respond))
        model = OpenAIModel(name, base_url=_URL, http_client=client, tariff=tariff([each.call for each in said], name))
        try:
            return await model.answer(ask)
        finally:
            await model.aclose()

    async def aclose(self) -> None:
        """There is nothing to let go of."""


class _Endpoint:
    """What a model's endpoint said in the calls for one answer, in order."""

    def __init__(self, purpose: str, said: Sequence[RecordedCall], deviations: Deviations) -> None:
        self._purpose = purpose
        self._said = list(said)
        self._deviations = deviations

    def respond(self, request: httpx2.Request) -> httpx2.Response:
        """The reply of the next call; of one more than were recorded, none."""
        if not self._said:
            self._deviations.unrecorded.append(self._purpose)
            return httpx2.Response(200, json=_NOTHING)
        said = self._said.pop(0)
        asked = readable_prompt(msgspec.json.encode(msgspec.json.decode(request.content)["messages"]).decode())
        assert said.reply is not None
        if _MARK.sub("", asked) == _MARK.sub("", said.prompt or ""):
            return httpx2.Response(200, content=said.reply.encode())
        self._deviations.changed.append(self._purpose)
        return httpx2.Response(200, content=_reckoned(said, asked))


def _reckoned(said: RecordedCall, asked: str) -> bytes:
    """The reply to a prompt that has become longer or shorter, with as many more or fewer tokens counted for it."""
    assert said.reply is not None
    reply: dict[str, Any] = msgspec.json.decode(said.reply)
    usage = reply.get("usage")
    if said.prompt and isinstance(usage, dict) and "prompt_tokens" in usage:
        usage["prompt_tokens"] = round(usage["prompt_tokens"] * len(asked) / len(said.prompt))
    return msgspec.json.encode(reply)


def purpose_of(agent: str, prompt: str) -> str:
    """What a call is for, whatever the version of its words: `writer correct`."""
    return f"{agent} {prompt.partition('.')[0]}"


def _by_purpose(said: Sequence[RecordedCall], run: Run) -> dict[str, list[list[RecordedCall]]]:
    """The calls for each purpose, by step, also of steps that made none: an answer has those of one step.

    Calls to which nothing came back are the endpoint's weather, and left out.
    """
    plans = [number for number, each in sorted(run.rounds.items()) if each.plan and not _copied(each)]
    reports = [number for number, each in sorted(run.rounds.items()) if each.synthesis]
    found: dict[str, list[list[RecordedCall]]] = {}
    for each in said:
        purpose, rounds = purpose_of(each.call.agent, each.call.prompt), plans if _is_plan(each) else reports
        steps = found.setdefault(purpose, [[] for _ in rounds])
        if each.reply is not None:
            steps[rounds.index(_round(each))].append(each)
    return found


def _copied(round_: Round) -> PlanMade | None:
    """The plan of a round that was taken from another run, where it was: nobody was asked for it."""
    plan = round_.plan.fact if round_.plan else None
    return plan if isinstance(plan, PlanMade) and plan.copied_from else None


def _is_plan(said: RecordedCall) -> bool:
    return said.slot.startswith(("plan.", "attempt.plan."))


def _round(said: RecordedCall) -> int:
    """The round of what a slot records: of `plan.2`, and of `attempt.plan.2.0.1`."""
    return int(said.slot.removeprefix("attempt.").split(".")[1])


def tariff(calls: Sequence[Call], model: str) -> Tariff:
    """What the recorded calls cost for a token, whichever way it went; no price where none was known."""
    total = usage_of(calls)
    tokens = total.input_tokens + total.output_tokens
    if total.cost_usd is None or total.unpriced or not tokens:
        return Tariff(model)
    price = total.cost_usd / tokens * 1e6
    return Tariff(model, given=(price, price))


class RecordedSearch:
    """Brings for each sub-query what it brought then."""

    def __init__(self, run: Run, deviations: Deviations) -> None:
        self._deviations = deviations
        self._found: dict[str, FetchOutcome] = {}
        for number, round_ in sorted(run.rounds.items()):
            queries = run.queries(number)
            for index, box in round_.fetches.items():
                query = box.fact.query or (queries[index] if index < len(queries) else "")
                self._found.setdefault(_key(query), box.fact)

    async def perform(self, task: FetchTask) -> FetchOutcome:
        """The recorded finding, or a failure that says that there is none."""
        match self._found.get(_key(task.query)):
            case None:
                self._deviations.unrecorded.append(f"search {task.query!r}")
                return FetchFailed(query=task.query, error=Failure("not_recorded", "This was not searched for then."))
            case FetchFound() as found:
                return msgspec.structs.replace(found, query=task.query, copied_from="")
            case FetchFailed() as failed:
                return msgspec.structs.replace(failed, query=task.query, copied_from="")


def _key(query: str) -> str:
    return " ".join(query.casefold().split())


class TakenOver:
    """Gives the first round the plan that the run took from another; the others are planned."""

    def __init__(self, plan: PlanMade, planner: Planner) -> None:
        self._plan = plan
        self._planner = planner

    async def perform(self, task: PlanTask) -> PlanMade:
        """A plan."""
        if task.feedback:
            return await self._planner.perform(task)
        return msgspec.structs.replace(self._plan, copied_from="")


def performs(recording: Recording, run: Run, deviations: Deviations) -> dict[Kind, Perform]:
    """Workers with today's code, and recorded answers."""
    said, case = recording.calls, recording.case
    planner = Planner(_model("planner", run, recording, deviations), room=_room(case, "planner"))
    copied = _copied(run.in_round(1))
    judged = any(each.call.agent == "judge" for each in said)
    synthesizer = Synthesizer(
        _model("writer", run, recording, deviations),
        room=_room(case, "writer"),
        judge=_model("judge", run, recording, deviations) if judged else OfflineModel(),
        judge_room=_room(case, "judge"),
    )
    return {
        "plan": require_task_type(PlanTask, (TakenOver(copied, planner) if copied else planner).perform),
        "fetch": require_task_type(FetchTask, RecordedSearch(run, deviations).perform),
        "synthesize": require_task_type(SynthesizeTask, synthesizer.perform),
    }


def _model(agent: Agent, run: Run, recording: Recording, deviations: Deviations) -> Model:
    """The model of an agent; by rule where the whole run was made by rule, and nobody was asked."""
    if not run.calls() and not recording.case.degraded:
        return OfflineModel()
    return RecordedModel([each for each in recording.calls if each.call.agent == agent], run, deviations)


def _room(case: Case, agent: Agent) -> ContextWindow:
    return window_of(agent, case.context.get(agent, UNKNOWN_CONTEXT))


def _defaults(run: Run) -> Defaults:
    calls = [call for call in run.calls() if call.agent == "writer"]
    if not calls:
        return Defaults()
    price = tariff(calls, calls[0].model)
    return Defaults(
        writer=WriterPricing(
            price.model, window_of("writer").reply, lambda into, out: price.cost(Tokens(into, out), clock.now())
        )
    )


def expected_of(case: Case) -> Expected:
    """What must come of a case."""
    return Expected(case.outcome, case.degraded, case.facts)


async def replayed(recording: Recording, folder: Path, *, name: str = "case") -> Figures:
    """What comes of the run today; `folder` is for its projection, which is called after `name`."""
    was = fold_facts(
        recording.case.run, [decode_message(slot, it) for it in recording.messages if (slot := parse_slot(it.subject))]
    )
    deviations, log = Deviations(), MemoryLog()
    for text in recording.texts.values():
        await log.put(text)
    workers = performs(recording, was, deviations)
    async with (
        coordinating(log, folder, defaults=_defaults(was), name=name) as dossier,
        working(log, workers, policy=RetryPolicy(shortest_wait_s=0.01)),
    ):
        run = await _course(dossier, was)
    expected = expected_of(recording.case)
    return figures(run, log.texts, expected, changed=deviations.changed, unrecorded=deviations.unrecorded)


async def _course(dossier: Dossier, was: Run) -> Run:
    """Ask as was asked, and decide as was decided, until the run ends, or waits for what nobody said."""
    assert was.accepted
    asked = was.accepted.fact
    decisions = [box.fact for _, each in sorted(was.rounds.items()) if (box := each.decision)]
    limit = {} if asked.max_cost_usd is None else {"max_cost_usd": asked.max_cost_usd}
    patience = "1s" if any(isinstance(each, DecisionExpired) for each in decisions) else "1d"
    await dossier.ask(asked.q, run_id=_RUN, approval=asked.approval, approval_timeout=patience, **limit)
    for number, decision in enumerate(decisions, 1):
        run = await _until(dossier, lambda run, number=number: bool(run.in_round(number).hold or run.completed))
        if run.completed:
            return run
        await _decide(dossier, run, decision)
    return await _until(dossier, lambda run: run.completed is not None)


async def _until(dossier: Dossier, stands: Callable[[Run], bool]) -> Run:
    run = await dossier.coordinator.wait_until(_RUN, 0, stands, within_s=_WITHIN_S)
    assert run, "the run was not taken"
    return run


async def _decide(dossier: Dossier, run: Run, decision: Decision) -> None:
    """Say what was said then, as far as it is about what there is today. What was decided by rule is so again."""
    found = {source.sha256 for finding in run.findings() for source in finding.sources}
    match decision:
        case DecisionApproved(via="policy") | DecisionExpired():
            pass
        case DecisionApproved():
            limit = {} if decision.max_cost_usd is None else {"max_cost_usd": decision.max_cost_usd}
            await dossier.say("approve", _RUN, exclude=[it for it in decision.exclude if it in found], **limit)
        case DecisionRejected():
            await dossier.say("reject", _RUN)
        case DecisionRevised():
            queries = {query for number in run.rounds for query in run.queries(number)}
            await dossier.send_back(
                _RUN,
                decision.feedback,
                exclude=tuple(it for it in decision.exclude if it in found),
                queries_add=decision.queries_add,
                queries_drop=tuple(it for it in decision.queries_drop if it in queries),
                max_cost_usd=decision.max_cost_usd,
            )
