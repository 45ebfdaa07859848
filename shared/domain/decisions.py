"""Decisions of people on runs: the fact that follows from one, or why it is refused. Pure.

The rules are the same for NATS messages and HTTP, and may be asked any number of times.
"""

from datetime import datetime
from math import ceil
from typing import Literal

from shared.contracts.facts import (
    Decision,
    DecisionApproved,
    DecisionRejected,
    DecisionRevised,
    RunCompleted,
    Via,
    VoteCast,
)
from shared.contracts.requests import Revision, Ruling
from shared.contracts.subjects import Slot
from shared.domain.approval import (
    ANY_APPROVAL,
    ApprovalRules,
    approval_objection,
    rules_of_hold,
    verified_identity,
    voter_token,
)
from shared.domain.budget import cost_limit, is_affordable, with_usage
from shared.domain.judgement import (
    Accept,
    Duplicate,
    Judgement,
    Reject,
    describe_winner,
    reject_late,
    reject_stale_digest,
)
from shared.domain.owed import decided_findings
from shared.domain.run import Run

Verb = Literal["approve", "reject", "revise", "cancel"]


def decide_ruling(
    verb: Verb,
    ruling: Ruling,
    run: Run | None,
    *,
    at: datetime,
    via: Via,
    message_seq: int | None = None,
    digest_required: bool = False,
    rounds: int = 5,
    auth: str = "",
    rules: ApprovalRules = ANY_APPROVAL,
) -> Judgement:
    """Decide on a person's ruling for a run, given at `at` by the log's time.

    Accept with the fact and its slot (a vote if the hold needs a quorum), Duplicate if the message `message_seq` is
    recorded already, or Reject. `run` is `None` if it is unknown; the verb `revise` takes a `Revision`; `rounds` is the
    highest number of rounds.
    """
    if run is None or run.accepted is None:
        return Reject("unknown_run", f"There is no run {ruling.run_id}.", "run_id")
    if is_ruling_recorded(run, message_seq):
        return Duplicate()
    if run.completed:
        return Reject("decided", f"Run {run.id} has ended: {describe_winner(run)}.")
    if verb == "cancel":
        return _accept_cancellation(run, ruling, message_seq, auth)
    if run.current.decision:
        return Reject("decided", f"Run {run.id} is decided: {describe_winner(run)}.")
    return (
        _reject_before_hold(run, message_seq)
        or _reject_untimely(run, ruling, at, digest_required)
        or _reject_exclusions(verb, run, ruling)
        or (_reject_over_budget(run, ruling) if verb == "approve" else None)
        or (_reject_revision(run, ruling, rounds) if isinstance(ruling, Revision) else None)
        or (_reject_approver(run, ruling, auth, rules) if verb == "approve" else None)
        or _accept_decision(run, _decision_fact(verb, ruling, run, via, message_seq, auth), rules)
    )


def _reject_approver(run: Run, ruling: Ruling, auth: str, rules: ApprovalRules) -> Reject | None:
    """Refusal of an approval whose approver does not count under the rules, or `None`."""
    why = approval_objection(run, ruling.by, auth, rules)
    return Reject(*why) if why else None


def _accept_decision(run: Run, decision: Decision, rules: ApprovalRules) -> Accept:
    """Accept a decision for its slot; an approval on a hold with a quorum as a vote in the approver's slot."""
    hold = run.current.hold.fact if run.current.hold else None
    if not isinstance(decision, DecisionApproved) or hold is None or hold.quorum == 1:
        return Accept(Slot(run.id, "decision", run.round), decision)
    who = verified_identity(decision.by, decision.auth, trusts_nats=rules_of_hold(hold, rules).trusts_nats)
    assert who
    vote = VoteCast(
        by=decision.by,
        via=decision.via,
        comment=decision.comment,
        digest=decision.digest,
        message_seq=decision.message_seq,
        auth=decision.auth,
        exclude=decision.exclude,
        max_cost_usd=decision.max_cost_usd,
    )
    return Accept(Slot(run.id, "vote", run.round, voter=voter_token(who)), vote)


def is_ruling_recorded(run: Run, message_seq: int | None) -> bool:
    """Return True if a decision, vote or cancellation of this message is recorded; False for `None`."""
    decisions = [round_.decision.fact.message_seq for round_ in run.rounds.values() if round_.decision]
    votes = [vote.fact.message_seq for round_ in run.rounds.values() for vote in round_.votes.values()]
    ended = run.completed.fact.message_seq if run.completed else None
    return message_seq is not None and message_seq in (*decisions, *votes, ended)


def _reject_before_hold(run: Run, message_seq: int | None) -> Reject | None:
    """Refusal in a later round of a decision that was sent before the round's hold, or `None`.

    In the first round a decision over NATS may precede the hold.
    """
    hold = run.current.hold
    if run.round == 1 or (hold and (message_seq is None or message_seq > hold.seq)):
        return None
    if hold:
        return Reject("not_held", f"Round {run.round} of run {run.id} was not on hold yet when this was sent.")
    return Reject("not_held", f"Round {run.round} of run {run.id} is not on hold yet; it is {run.status}.")


def _reject_untimely(run: Run, ruling: Ruling, at: datetime, digest_required: bool) -> Reject | None:
    """Refusal of a decision that is too late or on a stale digest, or lacks a required digest; or `None`."""
    if late := reject_late(run, at):
        return late
    if ruling.digest is None and digest_required:
        return Reject("digest_required", "Decisions must name the digest of the evidence they are on.", "digest")
    return reject_stale_digest(run, ruling.digest)


def _reject_exclusions(verb: Verb, run: Run, ruling: Ruling) -> Reject | None:
    """Refusal if a source to exclude is unknown or none would be left to write from; or `None`. Not before a hold.

    A source must be left for an approval, and for a rejection that excludes any.
    """
    if run.current.hold is None:
        return None
    known = {source.sha256 for finding in run.findings() for source in finding.sources}
    if strangers := set(ruling.exclude) - known:
        return Reject("unknown_source", f"exclude: {min(strangers)} is no source of run {run.id}.", "exclude")
    kept = {source.sha256 for finding in decided_findings(run) for source in finding.sources}
    if (verb == "approve" or (verb == "reject" and ruling.exclude)) and not kept - set(ruling.exclude):
        text = f"exclude: no source of run {run.id} is left to write from; reject it, or send it back for more."
        return Reject("nothing_left", text, "exclude")
    return None


def _reject_over_budget(run: Run, ruling: Ruling) -> Reject | None:
    """Refusal of an approval whose report could exceed the cost limit, with the limit that would do; or `None`.

    A limit given with an approval is accepted if the estimate has no price.
    """
    hold = run.current.hold.fact if run.current.hold else None
    most = cost_limit(run) if ruling.max_cost_usd is None else ruling.max_cost_usd
    if hold is None or hold.estimate is None or is_affordable(hold, most):
        return None
    about, cost = hold.estimate, hold.estimate.cost_usd
    if cost is None:
        if ruling.max_cost_usd is not None:
            return None
        text = f"max_cost_usd: no price is known for {about.model}, so ${most:.4f} cannot be kept; approve with "
        return Reject("over_budget", f"{text}max_cost_usd to have run {run.id} written at any price.", "max_cost_usd")
    text = f"max_cost_usd: writing run {run.id} could cost ${cost:.4f} after ${hold.spent_usd:.4f} so far, and "
    enough = ceil((hold.spent_usd + cost) * 10_000) / 10_000
    text += f"${most:.4f} is its limit; approve with a max_cost_usd of {enough:.4f} or more, or reject it."
    return Reject("over_budget", text, "max_cost_usd")


def _reject_revision(run: Run, revision: Revision, rounds: int) -> Reject | None:
    """Refusal of a revision without hold, in the last round, or that drops an unknown sub-query; or `None`."""
    if run.current.hold is None:
        return Reject("not_held", f"Run {run.id} is not on hold yet; it is {run.status}.")
    if run.round >= rounds:
        text = f"Round {run.round} of run {run.id} is its last; approve or reject it."
        return Reject("last_round", text)
    asked = {query for number in run.rounds for query in run.queries(number)}
    if strangers := set(revision.queries_drop) - asked:
        text = f"queries_drop: {min(strangers)!r} is no sub-query of run {run.id}."
        return Reject("unknown_query", text, "queries_drop")
    return None


def _decision_fact(verb: Verb, ruling: Ruling, run: Run, via: Via, message_seq: int | None, auth: str) -> Decision:
    """The fact of a decision on the current hold; any verb but `reject` without a `Revision` is an approval."""
    digest = run.current.hold.fact.digest if run.current.hold else None
    if verb == "reject":
        return DecisionRejected(
            by=ruling.by, via=via, comment=ruling.comment, digest=digest, message_seq=message_seq, auth=auth
        )
    if isinstance(ruling, Revision):
        return DecisionRevised(
            by=ruling.by,
            via=via,
            comment=ruling.comment,
            digest=digest,
            message_seq=message_seq,
            auth=auth,
            feedback=ruling.feedback,
            exclude=ruling.exclude,
            queries_add=ruling.queries_add,
            queries_drop=ruling.queries_drop,
            max_cost_usd=ruling.max_cost_usd,
        )
    return DecisionApproved(
        by=ruling.by,
        via=via,
        comment=ruling.comment,
        digest=digest,
        message_seq=message_seq,
        auth=auth,
        exclude=ruling.exclude,
        max_cost_usd=ruling.max_cost_usd,
    )


def _accept_cancellation(run: Run, ruling: Ruling, message_seq: int | None, auth: str) -> Accept:
    """Accept a cancellation as the run's completion, with the usage so far."""
    fact = RunCompleted(
        run_id=run.id,
        ok=False,
        outcome="cancelled",
        reason=ruling.comment or f"Cancelled by {ruling.by}.",
        by=ruling.by,
        message_seq=message_seq,
        auth=auth,
    )
    return Accept(Slot(run.id, "completed"), with_usage(fact, run))


def decision_deadline(run: Run) -> datetime | None:
    """Deadline of the run's current hold, extensions included; `None` unless it is on hold."""
    return run.current.deadline if run.status == "hold" else None
