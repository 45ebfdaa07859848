"""Cost limits of runs and estimates of reports, derived from recorded facts alone. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from shared.contracts.evidence import Estimate, Finding
from shared.contracts.facts import DecisionApproved, DecisionRevised, HoldOpened, PlanMade, RunCompleted
from shared.contracts.tokens import BYTES_PER_TOKEN, MAX_PASSAGE_BYTES
from shared.domain.run import Run

_PROMPT_OVERHEAD: Final = 10_000
"""Bytes that a writer's prompt has at most beside question, sub-queries and sources: its instructions and form."""
_SOURCE_OVERHEAD: Final = 250
_PASSAGE_OVERHEAD: Final = 40
_MAX_LABEL: Final = 200
_JUDGE_PROMPT: Final = 44_000
"""Bytes of a judge's prompt at most."""
_CALLS_PER_REPLY: Final = 2
"""Calls for one answer: a reply that is invalid is corrected once."""
_OFFLINE_PLANNER: Final = "offline"


@dataclass(frozen=True)
class WriterPricing:
    """Model that writes reports.

    `reply` is its longest reply in tokens; `cost(in, out)` prices tokens in USD, or `None`.
    """

    model: str
    reply: int
    cost: Callable[[int, int], float | None]
    judge: "WriterPricing | None" = None
    """Model that judges reports, or `None`."""

    def most(self, tokens: int) -> float | None:
        """USD of all calls that one report from a prompt of `tokens` may take; `None` if a price is unknown.

        These are writing, asking again for lost quotes, and judging, each with one correction of an invalid reply; a
        correction is sent with the reply before it.
        """
        calls = [(self, tokens), *[(self, tokens + 2 * self.reply)] * (2 * _CALLS_PER_REPLY - 1)]
        if self.judge:
            judged = -(-_JUDGE_PROMPT // BYTES_PER_TOKEN)
            calls += [(self.judge, judged), (self.judge, judged + 2 * self.judge.reply)]
        costs = [model.cost(into, model.reply) for model, into in calls]
        known = [cost for cost in costs if cost is not None]
        return sum(known) if len(known) == len(costs) else None


def cost_limit(run: Run) -> float | None:
    """Cost limit of the run in USD: the request's, unless a reviewer has set another since. `None`: no limit."""
    limit = run.accepted.fact.max_cost_usd if run.accepted else None
    for _, round_ in sorted(run.rounds.items()):
        decision = round_.decision.fact if round_.decision else None
        if isinstance(decision, DecisionApproved | DecisionRevised) and decision.max_cost_usd is not None:
            limit = decision.max_cost_usd
    return limit


def remaining_budget(run: Run) -> float | None:
    """USD that the run may still cost, at least 0; `None` for no limit. Calls of unknown price count as free."""
    most = cost_limit(run)
    return None if most is None else max(0.0, most - (run.usage().cost_usd or 0.0))


def is_affordable(hold: HoldOpened, most: float | None) -> bool:
    """Return True if the report of a hold fits into a limit of `most` USD for the run.

    True without a limit or estimate; False if the estimate has no price.
    """
    if most is None or hold.estimate is None:
        return True
    return hold.estimate.cost_usd is not None and hold.spent_usd + hold.estimate.cost_usd <= most


def over_budget(run: Run) -> bool:
    """Return True if the run is on hold and its report could exceed the run's cost limit."""
    round_ = run.current
    return bool(
        round_.hold
        and not round_.decision
        and not run.completed
        and not is_affordable(round_.hold.fact, cost_limit(run))
    )


def decided_by_policy(run: Run) -> bool:
    """Return True if the hold is approved without a person.

    That is for `auto` in the first round, if the report is affordable and the hold demands neither quorum nor four
    eyes.
    """
    hold = run.current.hold.fact if run.current.hold else None
    auto = run.accepted is not None and run.accepted.fact.approval == "auto"
    if hold is None or hold.quorum > 1 or hold.four_eyes:
        return False
    return auto and run.round == 1 and is_affordable(hold, cost_limit(run))


def writing_budget(run: Run, hold: HoldOpened) -> float | None:
    """USD that writing may cost: the remaining budget; `None` for no limit.

    Also `None` if the approval set a limit although the estimate has no price: that allows any price.
    """
    decision = run.current.decision.fact if run.current.decision else None
    raised = isinstance(decision, DecisionApproved) and decision.max_cost_usd is not None
    if raised and hold.estimate and hold.estimate.cost_usd is None:
        return None
    return remaining_budget(run)


def with_usage(fact: RunCompleted, run: Run) -> RunCompleted:
    """Copy of the completion `fact` with the usage of `run`: total, by agent and by model."""
    agents, models = run.usage_by(lambda call: call.agent), run.usage_by(lambda call: call.model)
    return replace(fact, usage=run.usage(), agents=agents, models=models)


def estimate(run: Run, findings: tuple[Finding, ...], writer: WriterPricing | None) -> Estimate | None:
    """Estimate of tokens and cost for writing from `findings`: of one call, and with all corrections.

    `None` without a writer, and for a run planned by the offline model: the same process writes it offline.
    """
    if writer is None or _is_offline(run):
        return None
    question = run.accepted.fact.q if run.accepted else ""
    tokens = -(-_prompt_bytes(question, findings) // BYTES_PER_TOKEN)
    cost = writer.cost(tokens, writer.reply)
    return Estimate(writer.model, tokens, writer.reply, cost, writer.most(tokens))


def _is_offline(run: Run) -> bool:
    """Return True if the newest plan was made by the offline model by configuration, not as a fallback."""
    plans = [round_.plan.fact for _, round_ in sorted(run.rounds.items()) if round_.plan]
    made = [plan for plan in plans if isinstance(plan, PlanMade)]
    return bool(made) and made[-1].planner == _OFFLINE_PLANNER and made[-1].degraded is None


def _prompt_bytes(question: str, findings: tuple[Finding, ...]) -> int:
    """Upper bound of a writer's prompt in bytes of UTF-8.

    It has the question twice and each passage of a source once.
    """
    sources = {source.sha256: source for finding in findings for source in finding.sources}
    passages = {
        (source.sha256, passage) for finding in findings for source in finding.sources for passage in source.passages
    }
    labels = [f"{source.title[:_MAX_LABEL]}{source.location[:_MAX_LABEL]}" for source in sources.values()]
    return (
        _PROMPT_OVERHEAD
        + 2 * _bytes(question)
        + sum(_bytes(finding.query) + _PASSAGE_OVERHEAD for finding in findings)
        + sum(_bytes(label) + _SOURCE_OVERHEAD for label in labels)
        + min(MAX_PASSAGE_BYTES, sum(_bytes(passage.text) for _, passage in passages))
        + len(passages) * _PASSAGE_OVERHEAD
    )


def _bytes(text: str) -> int:
    """Length in bytes of UTF-8; unpaired surrogates count as one byte."""
    return len(text.encode("utf-8", "replace"))
