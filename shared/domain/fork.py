"""Forks: a new run that reuses the facts of another before a step, and the copying of those facts. Pure.

Everything is settled and recorded when the fork is accepted. Then the new run needs the source only for the facts that
it copies; slots are written once, so a copy never changes.
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
from shared.contracts.requests import Request, parse_duration_s
from shared.contracts.subjects import RUN, Kind, Slot, Step, parse_slot
from shared.domain.judgement import Reject
from shared.domain.run import Run

PLANNER: Final = "fork"
"""Who made the plan of a fork whose sub-queries were edited, or come from more than one plan."""


class FactCopy(Struct, frozen=True):
    """A fact of another run, in `origin`, that is owed in `slot`."""

    slot: Slot
    origin: Slot


class _Query(Struct, frozen=True):
    """A sub-query, and the slot of the source whose fetch answers it, if one does."""

    text: str
    origin: Slot | None = None


def resolve_fork(wish: Fork, source: Run | None) -> Forked | Reject:
    """Facts that a fork reuses of `source`, or its refusal.

    Without a step it begins at the first failed one, else at the plan. Codes: `unknown_run`, `not_that_far`,
    `unfit_edit`.
    """
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
    """First fact of the fork: the source's request with the fork's changes and requester, and what it reuses."""
    wish = request.fork
    assert wish
    timeout = parse_duration_s(wish.approval_timeout) if wish.approval_timeout else source.approval_timeout_s
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
    """Approval of the fork: as asked for; else required from `synthesize`, and as in the source from earlier steps.

    An approval is bound to one run and its evidence, so a fork from `synthesize` does not inherit `auto`.
    """
    return wish.approval or ("required" if fork.step == "synthesize" else source.approval)


def failed_step(run: Run) -> Kind | None:
    """The earliest step that failed; of a failed run without one, the step that it got to; else `None`."""
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
    """Refusal of an edit that has no effect from this step on, or `None`."""
    queries = next((name for name in ("replace", "add", "drop") if getattr(wish, name)), "")
    if wish.q is not None and step != "plan":
        return _reject_edit("q", "plan and evidence belong to the question; change it from plan.")
    if queries and step != "fetch":
        return _reject_edit(queries, "sub-queries can be edited from fetch, and from no other step.")
    if wish.all and step != "fetch":
        return _reject_edit("all", "fetches can be repeated from fetch only.")
    if wish.tools is not None and step == "synthesize":
        return _reject_edit("tools", "nothing is fetched from synthesize on.")
    return None


def _reject_edit(field: str, reason: str) -> Reject:
    """Refusal of one field of the fork, with the code `unfit_edit`."""
    return Reject("unfit_edit", f"fork.{field}: {reason}", f"fork.{field}")


def _fork_from_fetch(wish: Fork, source: Run) -> Forked | Reject:
    """Reuse the plan, edited as `wish` says, and the fetches that found sources; with `all`, none of them.

    Rejected if the source has no plan, or the edits do not fit it.
    """
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
    """Reuse plan and all fetches. Rejected unless all are fetched and at least one found a source."""
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
    """Facts that the fork reuses: the source's first plan if it has exactly these queries, else the queries."""
    texts = tuple(query.text for query in queries)
    plan = source.in_round(1).plan
    if plan and isinstance(plan.fact, PlanMade) and plan.fact.queries == texts:
        return Forked(source.id, step, (Reused("plan.1", "plan.1"), *fetches))
    return Forked(source.id, step, tuple(fetches), texts)


def _queries_of(run: Run) -> list[_Query]:
    """Sub-queries of all rounds in order, without dropped ones.

    One whose fetch found nothing is left out if the same text was asked again and found sources.
    """
    planned = [
        _Query(text, Step(run.id, "fetch", number, index).outcome)
        for number in sorted(run.rounds)
        for index, text in enumerate(run.queries(number))
        if text not in run.dropped(number)
    ]
    answered = {query.text for query in planned if _has_sources(run, query)}
    return [query for query in planned if query.text not in answered or _has_sources(run, query)]


def _has_sources(run: Run, query: _Query) -> bool:
    """Return True if the fetch that answers a sub-query found sources."""
    return query.origin is not None and _found_sources(_fetch(run, query.origin))


def _edit_queries(wish: Fork, planned: list[_Query], run: str) -> list[_Query] | Reject:
    """Sub-queries after replacing, dropping and adding, or the refusal of an edit; changed ones have no origin.

    Rejected: edits of unknown sub-queries, replacing and dropping the same, none left, and more than are allowed.
    """
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
    """Outcome of a fetch of the run, or `None`."""
    box = run.in_round(slot.round).fetches.get(slot.index)
    return box.fact if box else None


def _found_sources(outcome: FetchOutcome | None) -> bool:
    """Return True if a fetch found at least one source."""
    return isinstance(outcome, FetchFound) and bool(outcome.sources)


def pending_copies(run: Run, fork: Forked) -> tuple[FactCopy, ...]:
    """Copies of plan and fetches that are not recorded in the fork yet."""
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
    """Slot and plan of a fork with sub-queries of its own; `None` once it is recorded, or if it copies a plan."""
    if not fork.queries or run.in_round(1).plan:
        return None
    return Slot(run.id, "plan", 1), PlanMade(queries=fork.queries, planner=PLANNER)


def copy_fact(copy: FactCopy, source: Run | None) -> Fact:
    """The fact to write for `copy`: its origin without usage and duration, with a reference to it.

    If the log has no origin any more, a failure of the step with the code `origin_missing`.
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
    """Plan or fetch in the slot of a run, or `None`."""
    if run is None:
        return None
    if slot.name == "fetch":
        return _fetch(run, slot)
    plan = run.in_round(slot.round).plan
    return plan.fact if plan else None
