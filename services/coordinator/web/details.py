"""Input and output of each step of a run, as JSON for its page. Pure."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from shared.contracts.evidence import Usage
from shared.contracts.facts import FetchFailed, FetchFound, PlanMade, SynthesisWritten
from shared.domain.owed import decided_findings, plan_task
from shared.domain.run import Round, Run

_MOST: Final = 12_000
"""Characters of one of them that a page shows; the whole is in the run's events."""


class StepDetail(Struct, frozen=True):
    """Input (`given`) and output (`brought`) of a step as indented JSON; empty if there is none yet."""

    given: str
    brought: str


def step_details(run: Run) -> Mapping[str, StepDetail]:
    """Details of every step that has begun, by the key of its line in the timeline."""
    made: dict[str, StepDetail] = {}
    for number in sorted(run.rounds):
        made |= _of_round(run, number, run.in_round(number))
    return made


def _of_round(run: Run, number: int, round_: Round) -> dict[str, StepDetail]:
    """Details of the steps and the hold of one round."""
    asked = run.accepted.fact if run.accepted else None
    made = {f"plan.{number}": _detail(plan_task(run, asked, number) if asked else None, _plan(round_))}
    for index, query in enumerate(run.queries(number)):
        tools = asked.tools if asked else ()
        given = {"query": query, "tools": tools or "all that are allowed"}
        made[f"fetch.{number}.{index}"] = _detail(given, _fetch(round_, index))
    if round_.hold:
        hold = round_.hold.fact
        made[f"hold.{number}"] = _detail(hold, round_.decision.fact if round_.decision else None)
        sources = {source.sha256: source.title for finding in decided_findings(run) for source in finding.sources}
        made[f"synthesis.{number}"] = _detail({"digest": hold.digest, "sources": sources}, _report(round_))
    return made


def _plan(round_: Round) -> object:
    """The plan without its slot's other fields; the failure, or None, in its place."""
    fact = round_.plan.fact if round_.plan else None
    if isinstance(fact, PlanMade):
        return {"queries": fact.queries, "planner": fact.planner, "degraded": fact.degraded} | _cost(fact.usage)
    return fact


def _fetch(round_: Round, index: int) -> object:
    """The sources without their passages' text, or the error; None before the step ends."""
    fact = round_.fetches[index].fact if index in round_.fetches else None
    if isinstance(fact, FetchFound):
        sources = [
            {"title": it.title, "location": it.location, "sha256": it.sha256, "passages": len(it.passages)}
            for it in fact.sources
        ]
        return {"sources": sources, "skipped": fact.skipped}
    return {"error": fact.error, "skipped": fact.skipped} if isinstance(fact, FetchFailed) else None


def _report(round_: Round) -> object:
    """Counts of the report's claims, without its text; the failure, or None, in its place."""
    fact = round_.synthesis.fact if round_.synthesis else None
    if isinstance(fact, SynthesisWritten):
        report = fact.report
        claims = {"claims": len(report.claims()), "quotes_dropped": report.dropped, "unsupported": report.unsupported}
        return {"writer": report.writer, "degraded": report.degraded} | claims | _cost(fact.usage)
    return fact


def _cost(usage: Usage) -> dict[str, Any]:
    """The usage under the key `usage`; empty without model calls."""
    return {"usage": usage} if usage.calls else {}


def _detail(given: object, brought: object) -> StepDetail:
    return StepDetail(_json(given), _json(brought))


def _json(value: object) -> str:
    """Indented JSON, cut off after 12,000 characters; empty for None."""
    if value is None:
        return ""
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    return text if len(text) <= _MOST else f"{text[:_MOST]}\n…"
