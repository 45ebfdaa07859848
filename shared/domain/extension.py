"""Extensions of a hold: the fact that follows from one, or why it is refused. Pure.

Each extension has a slot of its own, and the fold counts those that were stored before the deadline that they extend. A
coordinator lets a hold expire only after folding everything stored until then, so the log's order and time decide
between an extension and the deadline.
"""

from datetime import datetime, timedelta

from shared.contracts.facts import HoldExtended
from shared.contracts.requests import MAX_TIMEOUT_S, Extension
from shared.contracts.subjects import Slot
from shared.domain.judgement import (
    Accept,
    Duplicate,
    Judgement,
    Reject,
    describe_winner,
    reject_late,
    reject_stale_digest,
)
from shared.domain.run import Run


def decide_extension(wish: Extension, run: Run | None, *, at: datetime, auth: str) -> Judgement:
    """Decide on an extension sent at `at` by the log's time: Accept, Reject, or Duplicate.

    Duplicate if the hold's deadline is already the one wished for. `run` is `None` if it is unknown.
    """
    if run is None or run.accepted is None:
        return Reject("unknown_run", f"There is no run {wish.run_id}.", "run_id")
    if run.completed or run.current.decision:
        return Reject(
            "decided", f"Run {run.id} {'has ended' if run.completed else 'is decided'}: {describe_winner(run)}."
        )
    if run.current.hold is None:
        return Reject("not_held", f"Run {run.id} is not on hold yet; it is {run.status}.")
    return (
        reject_late(run, at)
        or reject_stale_digest(run, wish.digest)
        or _reject_deadline(wish, run)
        or _accept_extension(wish, run, auth)
    )


def _reject_deadline(wish: Extension, run: Run) -> Reject | None:
    """Refusal of a deadline before the current one, or over 366 days after the hold opened; or `None`."""
    hold, deadline = run.current.hold, run.current.deadline
    assert hold
    assert deadline
    if wish.deadline < deadline:
        text = f"deadline: run {run.id} waits until {deadline.isoformat()}; it can wait longer, not shorter."
        return Reject("not_later", text, "deadline")
    latest = hold.at + timedelta(seconds=MAX_TIMEOUT_S)
    if wish.deadline > latest:
        text = f"deadline: run {run.id} can wait until {latest.isoformat()} at most, 366 days after its hold opened."
        return Reject("too_long", text, "deadline")
    return None


def _accept_extension(wish: Extension, run: Run, auth: str) -> Accept | Duplicate:
    """Accept the extension for the next slot; Duplicate if it is the current deadline."""
    if wish.deadline == run.current.deadline:
        return Duplicate()
    fact = HoldExtended(
        by=wish.by, via="api", comment=wish.comment, digest=wish.digest, auth=auth, deadline=wish.deadline
    )
    return Accept(next_extension_slot(run), fact)


def next_extension_slot(run: Run) -> Slot:
    """Slot of the next extension of the current round's hold; numbers begin at 1."""
    return Slot(run.id, "extension", run.round, max(run.current.extensions, default=0) + 1)
