"""A run as the steps that a person follows. Pure: the same run gives the same steps."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final, Literal

from msgspec import Struct

from shared.contracts.evidence import Usage
from shared.contracts.facts import (
    DecisionApproved,
    DecisionExpired,
    DecisionRejected,
    DecisionRevised,
    FetchFailed,
    FetchFound,
    PlanFailed,
    PlanMade,
    SynthesisFailed,
    SynthesisWritten,
)
from shared.contracts.subjects import Step as Work
from shared.domain.budget import cost_limit, over_budget
from shared.domain.fork import PLANNER
from shared.domain.run import Round, Run
from shared.domain.steps import step_state

State = Literal["waits", "works", "done", "failed", "held"]


class Step(Struct, frozen=True):
    """One line: how it stands, what it is, what it is about, and what came of it."""

    state: State
    name: str
    text: str = ""
    detail: str = ""


SHORT: Final = 12
"""Digits of a hash that are shown."""
_DECIDED: Final[dict[type, str]] = {
    DecisionApproved: "approved",
    DecisionRejected: "rejected",
    DecisionRevised: "sent back for more",
    DecisionExpired: "expired",
}


def short(digest: str | None) -> str:
    """As much of a hash as a person compares."""
    return (digest or "")[:SHORT]


def count(number: int, one: str, many: str = "") -> str:
    """`1 source`, `2 sources`."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def on_hold(run: Run) -> bool:
    """Whether the run waits for a person."""
    return run.status == "hold"


def steps(run: Run) -> list[Step]:
    """Everything that has begun, in order."""
    lines = [step for number in range(1, run.round + 1) for step in _steps_of(run, number)] if run.accepted else []
    if run.completed and not run.completed.fact.ok:
        ended = run.completed.fact
        lines = [step for step in lines if step.state in ("done", "failed")]
        if ended.outcome not in ("rejected", "expired"):
            lines.append(Step("failed", ended.outcome, ended.reason))
    if run.completed and run.usage().calls:
        lines += _costs(run)
    if run.unknown and not run.completed:
        lines.append(Step("failed", "parked", run.unknown.fact))
    return lines


def _steps_of(run: Run, number: int) -> Iterator[Step]:
    round_ = run.in_round(number)
    yield _plan(round_, Work(run.id, "plan", number))
    for index, query in enumerate(run.queries(number)):
        yield _fetch(round_, Work(run.id, "fetch", number, index), query)
    if round_.decision:
        fact = round_.decision.fact
        state: State = "done" if isinstance(fact, DecisionApproved | DecisionRevised) else "failed"
        who = "" if isinstance(fact, DecisionExpired) else f"by {fact.by}"
        yield Step(
            state, _DECIDED[type(fact)], who, fact.feedback if isinstance(fact, DecisionRevised) else fact.comment
        )
    elif round_.hold:
        assert round_.deadline
        yield Step("held", "on hold", "waiting for a decision", f"until {moment(round_.deadline)}")
        for more in round_.extended():
            yield Step("held", "extended", f"by {more.fact.by}", more.fact.comment)
        if estimate := round_.hold.fact.estimate:
            most = "unpriced" if estimate.cost_usd is None else f"{_price(estimate.cost_usd)} at most"
            more = "" if estimate.most_usd is None else f", {_price(estimate.most_usd)} with every correction"
            yield Step("held", "estimate", f"{most} to write the report{more}", _spent(run))
    if round_.decision and isinstance(round_.decision.fact, DecisionApproved):
        yield _report(round_, Work(run.id, "synthesize", number))


def _plan(round_: Round, work: Work) -> Step:
    match round_.plan.fact if round_.plan else None:
        case None:
            return _unfinished("plan", "", round_, work)
        case PlanMade(queries=queries, planner=planner, degraded=degraded, copied_from=origin):
            text = count(len(queries), "sub-query", "sub-queries")
            if origin or planner == PLANNER:
                return Step("done", "plan", text, "reused" if origin else "edited")
            return Step("done", "plan", text, f"degraded: {degraded}" if degraded else f"by {planner}")
        case PlanFailed(error=error):
            return Step("failed", "plan", "", error.message)


def _fetch(round_: Round, work: Work, query: str) -> Step:
    box = round_.fetches.get(work.index)
    match box.fact if box else None:
        case None:
            return _unfinished("fetch", query, round_, work)
        case FetchFound(sources=sources, copied_from=origin):
            return Step("done", "fetch", query, f"{count(len(sources), 'source')}{', reused' if origin else ''}")
        case FetchFailed(error=error):
            return Step("failed", "fetch", query, error.message)


def _report(round_: Round, work: Work) -> Step:
    match round_.synthesis.fact if round_.synthesis else None:
        case None:
            return _unfinished("report", "", round_, work)
        case SynthesisWritten(report=report):
            text = f"{count(len(report.citations()), 'citation')} of {count(len(report.sources), 'source')}"
            text = "too little evidence" if report.insufficient else text
            return Step(
                "done", "report", text, f"degraded: {report.degraded}" if report.degraded else f"by {report.writer}"
            )
        case SynthesisFailed(error=error):
            return Step("failed", "report", "", error.message)


def _costs(run: Run) -> Iterator[Step]:
    """What the run has cost, and, where several models took part, each of them."""
    yield _cost("cost", run.usage())
    models = run.usage_by(lambda call: f"{call.agent}, {call.model}")
    if len(models) > 1:
        yield from (_cost("", usage, of=name) for name, usage in models.items())


def _cost(name: str, usage: Usage, of: str = "") -> Step:
    tokens = f"{usage.input_tokens:,} tokens in, {usage.output_tokens:,} out"
    unpriced = f", {usage.unpriced} unpriced" if usage.unpriced and usage.cost_usd is not None else ""
    estimated = f", {usage.estimated} estimated" if usage.estimated else ""
    detail = f"{count(usage.calls, 'call')}{unpriced}{estimated}, {tokens}"
    return Step("done", name, f"{_price(usage.cost_usd)}{f'  {of}' if of else ''}", detail)


def _price(usd: float | None) -> str:
    return "unpriced" if usd is None else f"${usd:.4f}"


def _spent(run: Run) -> str:
    """What a run on hold has cost, of what it may, and what that means for its approval."""
    usage, most = run.usage(), cost_limit(run)
    spent = "nothing spent yet" if not usage.calls else f"{_price(usage.cost_usd)} spent"
    if most is None:
        return spent
    return f"{spent} of at most ${most:.4f}{'; approving takes a higher --max-cost' if over_budget(run) else ''}"


def _unfinished(name: str, text: str, round_: Round, work: Work) -> Step:
    """Line of a step without an outcome: `waits` until its first attempt is issued; why the last attempt failed."""
    state = step_state(round_, work)
    last = state.last_failure
    detail = f"attempt {state.current.slot.attempt}, after: {last.fact.error.message}" if last else ""
    return Step("works" if state.attempts[0].issued else "waits", name, text, detail)


def moment(time: datetime) -> str:
    """A moment on this machine's clock."""
    return f"{time.astimezone():%H:%M on %d %B}"
