"""Doing a run over from one of its steps: what the new run takes from the old one, and how it gets it. Pure.

All of it is settled when the fork is accepted, and recorded there. From then on the new run needs the old one only for
the facts that it takes over; boxes are written once, so a copy of one is a pure reference.
"""

from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from shared.contracts.evidence import Failure, Usage
from shared.contracts.facts import (
    Approval,
    Fact,
    FetchFailed,
    FetchFound,
    FetchOutcome,
    Forked,
    PlanFailed,
    PlanMade,
    PlanOutcome,
    Reused,
    RunAccepted,
    SynthesisFailed,
)
from shared.contracts.forks import MAX_QUERIES, Fork
from shared.contracts.requests import Request, duration_s
from shared.contracts.subjects import RUN, Kind, Slot, Step, parse_slot
from shared.domain.judgement import Reject
from shared.domain.run import Run

PLANNER: Final = "fork"
"""Who made the plan of a fork whose sub-queries were edited, or come from more than one plan."""


class FactCopy(Struct, frozen=True):
    """A fact of another run that is due in `slot`."""

    slot: Slot
    origin: Slot


class _Query(Struct, frozen=True):
    """A sub-query, and where its sources may be taken from."""

    text: str
    origin: Slot | None = None


def resolve_fork(wish: Fork, source: Run | None) -> Forked | Reject:
    """What a fork takes from `source`, or why it cannot be."""
    if source is None or source.accepted is None:
        return Reject("unknown_run", f"There is no run {wish.run_id} that could be forked.", "fork.run_id")
    step = wish.step or failed_step(source) or "plan"
    if unfit := _reject_for_step(wish, step):
        return unfit
    match step:
        case "plan":
            return Forked(source.id, step)
        case "fetch":
            return _fork_from_fetch(wish, source)
        case "synthesize":
            return _fork_from_synthesize(source)


def accept_fork(request: Request, fork: Forked, source: RunAccepted, *, seq: int, auth: str) -> RunAccepted:
    """The fork as its run records it: the old request, but for what was asked to be otherwise.

    An approval is bound to the run and the evidence it was given on. From `synthesize` there is nothing new to
    approve but the use of that evidence, so only a fork that asks for `auto` itself does without a person.
    """
    wish = request.fork
    assert wish
    timeout = duration_s(wish.approval_timeout) if wish.approval_timeout else source.approval_timeout_s
    return replace(
        source,
        q=wish.q or source.q,
        request_seq=seq,
        request_sha256=request.content_sha256,
        approval=fork_approval(wish, fork, source),
        approval_timeout_s=timeout,
        max_cost_usd=source.max_cost_usd if wish.max_cost_usd is None else wish.max_cost_usd,
        tools=source.tools if wish.tools is None else wish.tools,
        requested_by=request.requested_by,
        auth=auth,
        fork=fork,
    )


def fork_approval(wish: Fork, fork: Forked, source: RunAccepted) -> Approval:
    """Whether the fork needs a person's approval."""
    return wish.approval or ("required" if fork.step == "synthesize" else source.approval)


def failed_step(run: Run) -> Kind | None:
    """The earliest step that failed; of a failed run without one, the step that it got to."""
    rounds = run.rounds.values()
    first = run.in_round(1).plan
    if first and isinstance(first.fact, PlanFailed):
        return "plan"
    if any(isinstance(box.fact, FetchFailed) for round_ in rounds for box in round_.fetches.values()):
        return "fetch"
    if any(round_.synthesis and isinstance(round_.synthesis.fact, SynthesisFailed) for round_ in rounds):
        return "synthesize"
    if run.status != "failed":
        return None
    if first is None:
        return "plan"
    return "synthesize" if any(round_.hold for round_ in rounds) else "fetch"


def _reject_for_step(wish: Fork, step: Kind) -> Reject | None:
    """An edit that can have no effect from this step on."""
    queries = next((name for name in ("replace", "add", "drop") if getattr(wish, name)), "")
    if wish.q is not None and step != "plan":
        return _reject_edit("q", "what was planned and found belongs to its question; ask another one from plan.")
    if queries and step != "fetch":
        return _reject_edit(queries, "sub-queries can be edited from fetch, and from no other step.")
    if wish.all and step != "fetch":
        return _reject_edit("all", "it says that fetches are repeated, which from fetch alone is a question.")
    if wish.tools is not None and step == "synthesize":
        return _reject_edit("tools", "nothing is fetched from synthesize on.")
    return None


def _reject_edit(field: str, reason: str) -> Reject:
    return Reject("unfit_edit", f"fork.{field}: {reason}", f"fork.{field}")


def _fork_from_fetch(wish: Fork, source: Run) -> Forked | Reject:
    planned = _queries_of(source)
    if not planned:
        return Reject(
            "not_that_far", f"Run {source.id} has no plan that could be kept; fork it from plan.", "fork.from"
        )
    queries = _edit_queries(wish, planned, source.id)
    if isinstance(queries, Reject):
        return queries
    fetches = [
        Reused(Step("", "fetch", 1, index).outcome.path, query.origin.path)
        for index, query in enumerate(queries)
        if query.origin and not wish.all and _found_sources(_fetch(source, query.origin))
    ]
    return _forked_from(source, "fetch", queries, fetches)


def _fork_from_synthesize(source: Run) -> Forked | Reject:
    planned = _queries_of(source)
    reuses = [
        Reused(Step("", "fetch", 1, index).outcome.path, query.origin.path)
        for index, query in enumerate(planned)
        if query.origin and _fetch(source, query.origin)
    ]
    if not planned or len(reuses) < len(planned):
        text = f"Run {source.id} has not fetched all that it planned; fork it from fetch or plan."
        return Reject("not_that_far", text, "fork.from")
    if not any(found.sources for found in source.findings()):
        text = f"Run {source.id} found nothing that could be written from; fork it from fetch or plan."
        return Reject("not_that_far", text, "fork.from")
    return _forked_from(source, "synthesize", planned, reuses)


def _forked_from(source: Run, step: Kind, queries: list[_Query], fetches: list[Reused]) -> Forked:
    """With the source's plan where it is all of the plan, else with the sub-queries themselves."""
    texts = tuple(query.text for query in queries)
    plan = source.in_round(1).plan
    if plan and isinstance(plan.fact, PlanMade) and plan.fact.queries == texts:
        return Forked(source.id, step, (Reused("plan.1", "plan.1"), *fetches))
    return Forked(source.id, step, tuple(fetches), texts)


def _queries_of(run: Run) -> list[_Query]:
    """The sub-queries of all rounds, in order: not those that a reviewer dropped, nor one that brought nothing where
    the same, asked again, did."""
    planned = [
        _Query(text, Step(run.id, "fetch", number, index).outcome)
        for number in sorted(run.rounds)
        for index, text in enumerate(run.queries(number))
        if text not in run.dropped(number)
    ]
    answered = {query.text for query in planned if _has_sources(run, query)}
    return [query for query in planned if query.text not in answered or _has_sources(run, query)]


def _has_sources(run: Run, query: _Query) -> bool:
    return query.origin is not None and _found_sources(_fetch(run, query.origin))


def _edit_queries(wish: Fork, planned: list[_Query], run: str) -> list[_Query] | Reject:
    """The sub-queries as they are to be; one whose text is another has nothing yet."""
    known = {query.text for query in planned}
    for field, named in (("replace", wish.replace), ("drop", wish.drop)):
        if strange := next((text for text in named if text not in known), None):
            return _reject_edit(field, f"{strange[:80]!r} is no sub-query of run {run}.")
    if both := wish.replace.keys() & set(wish.drop):
        return _reject_edit("drop", f"{min(both)[:80]!r} is replaced, too.")
    kept = [
        _Query(wish.replace[query.text]) if query.text in wish.replace else query
        for query in planned
        if query.text not in wish.drop
    ]
    queries = [*kept, *map(_Query, wish.add)]
    if not queries:
        return _reject_edit("drop", "no sub-query is left.")
    if len(queries) > max(MAX_QUERIES, len(planned)):
        return _reject_edit("add", f"that would make {len(queries)} sub-queries; at most {MAX_QUERIES} are taken.")
    return queries


def _fetch(run: Run, slot: Slot) -> FetchOutcome | None:
    box = run.in_round(slot.round).fetches.get(slot.index)
    return box.fact if box else None


def _found_sources(outcome: FetchOutcome | None) -> bool:
    return isinstance(outcome, FetchFound) and bool(outcome.sources)


def pending_copies(run: Run, fork: Forked) -> tuple[FactCopy, ...]:
    """The boxes of `run` that still lack what they take from the other run."""
    round_ = run.in_round(1)
    full = {f"fetch.1.{index}" for index in round_.fetches}
    if round_.plan:
        full.add("plan.1")
    return tuple(
        FactCopy(slot, origin)
        for reused in fork.reuses
        if reused.slot not in full
        and (slot := parse_slot(f"{RUN}.{run.id}.{reused.slot}"))
        and (origin := parse_slot(f"{RUN}.{fork.run_id}.{reused.origin}"))
    )


def pending_plan(run: Run, fork: Forked) -> tuple[Slot, Fact] | None:
    """The plan of a fork that has sub-queries of its own, as long as it is not recorded."""
    if not fork.queries or run.in_round(1).plan:
        return None
    return Slot(run.id, "plan", 1), PlanMade(queries=fork.queries, planner=PLANNER)


def copy_fact(copy: FactCopy, source: Run | None) -> Fact:
    """The fact for `copy`: what its origin says, at no cost and no time of its own, and where it is from.

    Where the log no longer has the origin, that is a failure of the step.
    """
    outcome = _outcome(source, copy.origin)
    match outcome:
        case PlanMade():
            return replace(outcome, usage=Usage(), calls=(), duration_s=None, copied_from=copy.origin.subject)
        case FetchFound() | FetchFailed():
            return replace(outcome, duration_s=None, copied_from=copy.origin.subject)
        case _:
            error = Failure("origin_missing", f"{copy.origin.subject}, which was to be reused, is not in the log.")
            return PlanFailed(error=error) if copy.slot.name == "plan" else FetchFailed(query="", error=error)


def _outcome(run: Run | None, slot: Slot) -> PlanOutcome | FetchOutcome | None:
    if run is None:
        return None
    if slot.name == "fetch":
        return _fetch(run, slot)
    plan = run.in_round(slot.round).plan
    return plan.fact if plan else None
