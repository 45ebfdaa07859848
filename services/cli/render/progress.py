"""A run as lines of progress. Pure."""

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
from shared.contracts.subjects import Step
from shared.domain.budget import cost_limit, over_budget
from shared.domain.fork import PLANNER
from shared.domain.run import Round, Run
from shared.domain.steps import step_state

State = Literal["waits", "works", "done", "failed", "held"]


class Line(Struct, frozen=True):
    """One line: the state, the name of the step, its subject such as the sub-query, and its result."""

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
    """The first 12 digits of a hash; empty for `None`."""
    return (digest or "")[:SHORT]


def count(number: int, one: str, many: str = "") -> str:
    """The number with its noun: `1 source`, `2 sources`. `many` is the plural if it is irregular."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def moment(time: datetime) -> str:
    """Time and day in the time zone of this machine."""
    return f"{time.astimezone():%H:%M on %d %B}"


def on_hold(run: Run) -> bool:
    """Return True if the run waits for a decision."""
    return run.status == "hold"


def progress(run: Run) -> list[Line]:
    """A line for each step that has begun, in order; then the outcome if it is not a report, and the cost at the end.

    Of an ended run without a report, unfinished steps are left out.
    """
    lines = [line for number in range(1, run.round + 1) for line in _round_lines(run, number)] if run.accepted else []
    if run.completed and not run.completed.fact.ok:
        ended = run.completed.fact
        lines = [line for line in lines if line.state in ("done", "failed")]
        if ended.outcome not in ("rejected", "expired"):
            lines.append(Line("failed", ended.outcome, ended.reason))
    if run.completed and run.usage().calls:
        lines += _cost_lines(run)
    if run.unknown and not run.completed:
        lines.append(Line("failed", "parked", run.unknown.fact))
    return lines


def _round_lines(run: Run, number: int) -> Iterator[Line]:
    """Lines of a round: plan, fetches, then the decision or the hold, and the report once it is approved."""
    round_ = run.in_round(number)
    yield _plan_line(round_, Step(run.id, "plan", number))
    for index, query in enumerate(run.queries(number)):
        yield _fetch_line(round_, Step(run.id, "fetch", number, index), query)
    if round_.decision:
        fact = round_.decision.fact
        state: State = "done" if isinstance(fact, DecisionApproved | DecisionRevised) else "failed"
        by = "" if isinstance(fact, DecisionExpired) else f"by {fact.by}"
        words = fact.feedback if isinstance(fact, DecisionRevised) else fact.comment
        yield Line(state, _DECIDED[type(fact)], by, words)
    elif round_.hold:
        yield from _hold_lines(run, round_)
    if round_.decision and isinstance(round_.decision.fact, DecisionApproved):
        yield _report_line(round_, Step(run.id, "synthesize", number))


def _hold_lines(run: Run, round_: Round) -> Iterator[Line]:
    """The deadline of the hold, each extension, and the estimated cost of the report if there is an estimate."""
    assert round_.hold
    assert round_.deadline
    yield Line("held", "on hold", "waiting for a decision", f"until {moment(round_.deadline)}")
    for extension in round_.valid_extensions():
        yield Line("held", "extended", f"by {extension.fact.by}", extension.fact.comment)
    if estimate := round_.hold.fact.estimate:
        most = "unpriced" if estimate.cost_usd is None else f"{_price(estimate.cost_usd)} at most"
        corrected = "" if estimate.most_usd is None else f", {_price(estimate.most_usd)} with every correction"
        yield Line("held", "estimate", f"{most} to write the report{corrected}", _spent(run))


def _plan_line(round_: Round, step: Step) -> Line:
    """The number of sub-queries and the planner, the error, or the state of the attempts."""
    match round_.plan.fact if round_.plan else None:
        case None:
            return _unfinished("plan", "", round_, step)
        case PlanMade(queries=queries, planner=planner, degraded=degraded, copied_from=origin):
            text = count(len(queries), "sub-query", "sub-queries")
            if origin or planner == PLANNER:
                return Line("done", "plan", text, "reused" if origin else "edited")
            return Line("done", "plan", text, f"degraded: {degraded}" if degraded else f"by {planner}")
        case PlanFailed(error=error):
            return Line("failed", "plan", "", error.message)


def _fetch_line(round_: Round, step: Step, query: str) -> Line:
    """The sub-query with its number of sources, the error, or the state of the attempts."""
    entry = round_.fetches.get(step.index)
    match entry.fact if entry else None:
        case None:
            return _unfinished("fetch", query, round_, step)
        case FetchFound(sources=sources, copied_from=origin):
            return Line("done", "fetch", query, f"{count(len(sources), 'source')}{', reused' if origin else ''}")
        case FetchFailed(error=error):
            return Line("failed", "fetch", query, error.message)


def _report_line(round_: Round, step: Step) -> Line:
    """The number of citations and the writer, the error, or the state of the attempts."""
    match round_.synthesis.fact if round_.synthesis else None:
        case None:
            return _unfinished("report", "", round_, step)
        case SynthesisWritten(report=report):
            text = f"{count(len(report.citations()), 'citation')} of {count(len(report.sources), 'source')}"
            text = "too little evidence" if report.insufficient else text
            detail = f"degraded: {report.degraded}" if report.degraded else f"by {report.writer}"
            return Line("done", "report", text, detail)
        case SynthesisFailed(error=error):
            return Line("failed", "report", "", error.message)


def _unfinished(name: str, text: str, round_: Round, step: Step) -> Line:
    """A step without an outcome: `works` if a task was issued, with the error of the last attempt that failed."""
    state = step_state(round_, step)
    last = state.last_failure
    detail = f"attempt {state.current.slot.attempt}, after: {last.fact.error.message}" if last else ""
    return Line("works" if state.attempts[0].issued else "waits", name, text, detail)


def _cost_lines(run: Run) -> Iterator[Line]:
    """The cost of the run, then that of each agent's model if there are several."""
    yield _cost_line("cost", run.usage())
    models = run.usage_by(lambda call: f"{call.agent}, {call.model}")
    if len(models) > 1:
        yield from (_cost_line("", usage, of=name) for name, usage in models.items())


def _cost_line(name: str, usage: Usage, of: str = "") -> Line:
    """US dollars, calls and tokens of a usage. `of` names the model."""
    tokens = f"{usage.input_tokens:,} tokens in, {usage.output_tokens:,} out"
    unpriced = f", {usage.unpriced} unpriced" if usage.unpriced and usage.cost_usd is not None else ""
    estimated = f", {usage.estimated} estimated" if usage.estimated else ""
    detail = f"{count(usage.calls, 'call')}{unpriced}{estimated}, {tokens}"
    return Line("done", name, f"{_price(usage.cost_usd)}{f'  {of}' if of else ''}", detail)


def _price(usd: float | None) -> str:
    """US dollars with four decimals; `unpriced` for `None`."""
    return "unpriced" if usd is None else f"${usd:.4f}"


def _spent(run: Run) -> str:
    """The cost of a run on hold so far, its limit if it has one, and a hint if approval needs a higher one."""
    usage, limit = run.usage(), cost_limit(run)
    spent = "nothing spent yet" if not usage.calls else f"{_price(usage.cost_usd)} spent"
    if limit is None:
        return spent
    return f"{spent} of at most ${limit:.4f}{'; approval needs a higher --max-cost' if over_budget(run) else ''}"
