"""Results of deciding on a request, decision or extension: accept, reject or duplicate; and common refusals. Pure."""

from datetime import datetime
from typing import Final

from msgspec import Struct

from shared.contracts.facts import (
    Approval,
    DecisionApproved,
    DecisionExpired,
    DecisionRejected,
    DecisionRevised,
    Fact,
)
from shared.contracts.subjects import Slot
from shared.domain.approval import ApprovalRules
from shared.domain.run import Run

WORDS: Final[dict[type, str]] = {
    DecisionApproved: "approved",
    DecisionRejected: "rejected",
    DecisionRevised: "sent back",
    DecisionExpired: "expired",
}


class Accept(Struct, frozen=True):
    """Write `fact` to `slot`. It takes effect if it is the first there."""

    slot: Slot
    fact: Fact


class Reject(Struct, frozen=True):
    """Write nothing. `field` names the field at fault, if one is.

    `code` is one of `unknown_run`, `not_held`, `decided`, `stale_digest`, `digest_required`, `too_late`, `not_later`,
    `too_long`, `unknown_source`, `nothing_left`, `unknown_query`, `last_round`, `over_budget`, `unidentified`,
    `requester_unknown`, `four_eyes`, `voted`, `not_yours`, `no_auto`, `clash`, of a fork `not_that_far` or
    `unfit_edit`, or that of an `InvalidMessage`.
    """

    code: str
    message: str
    field: str = ""


def reject_auto_approval(approval: Approval, rules: ApprovalRules) -> Reject | None:
    """Refusal of `approval: auto` under rules that need an approver's identity, or `None`."""
    if approval != "auto" or not rules.needs_identity:
        return None
    text = "approval: auto is not taken here, since approvals need a verified person; use required."
    return Reject("no_auto", text, "approval")


class Duplicate(Struct, frozen=True):
    """Write nothing: it is recorded already."""


Judgement = Accept | Reject | Duplicate


def reject_late(run: Run, at: datetime) -> Reject | None:
    """Refusal of anything sent at or after the deadline, extensions included; `None` before, or without a hold."""
    deadline = run.current.deadline
    if deadline is None or at < deadline:
        return None
    return Reject("too_late", f"The time to decide on run {run.id} ended at {deadline.isoformat()}.")


def reject_stale_digest(run: Run, digest: str | None) -> Reject | None:
    """Refusal if `digest` is not that of the current hold; `None` if it is, or if no digest was sent."""
    hold = run.current.hold.fact if run.current.hold else None
    if digest is None or (hold and digest == hold.digest):
        return None
    have = hold.digest if hold else "none yet"
    text = f"The evidence of run {run.id} is not what this was decided on; its digest is {have}."
    return Reject("stale_digest", text, "digest")


def describe_winner(run: Run) -> str:
    """Phrase for the decision or end of a run, with name and time; its status if it is undecided."""
    decision = run.current.decision
    if run.completed and run.completed.fact.outcome in ("cancelled", "failed"):
        ended = run.completed.fact
        return f"{ended.outcome}{f' by {ended.by}' if ended.by else ''} at {run.completed.at.isoformat()}"
    if decision is None:
        return run.status
    return f"{WORDS[type(decision.fact)]} by {decision.fact.by} at {decision.at.isoformat()}"
