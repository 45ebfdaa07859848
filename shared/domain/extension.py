"""More time to decide: what follows from a person's wish that a hold wait longer. Pure.

Each extension has a box of its own, and the fold counts those that were stored before the deadline that they extend. A
coordinator lets a hold expire only when it has folded everything that was stored until then, so of an extension and
the deadline that it is to extend one wins, by the log's order and time.
"""

from datetime import datetime, timedelta

from shared.contracts.facts import HoldExtended
from shared.contracts.requests import MAX_TIMEOUT_S, Extension
from shared.contracts.subjects import Slot
from shared.domain.judgement import Judgement, Refuse, Said, Take, stale, too_late, winner
from shared.domain.run import Run


def judge_extension(wish: Extension, run: Run | None, *, at: datetime, auth: str) -> Judgement:
    """What follows from `wish`, said at `at` by the log's time."""
    if run is None or run.accepted is None:
        return Refuse("unknown_run", f"There is no run {wish.run_id}.", "run_id")
    if run.completed or run.current.decision:
        return Refuse("decided", f"Run {run.id} {'has ended' if run.completed else 'is decided'}: {winner(run)}.")
    if run.current.hold is None:
        return Refuse("not_held", f"Run {run.id} is not on hold yet; it is {run.status}.")
    return too_late(run, at) or stale(run, wish.digest) or _unfit(wish, run) or _taken(wish, run, auth)


def _unfit(wish: Extension, run: Run) -> Refuse | None:
    """Why nobody may wait until then."""
    hold, deadline = run.current.hold, run.current.deadline
    assert hold
    assert deadline
    if wish.deadline < deadline:
        text = f"deadline: run {run.id} waits until {deadline.isoformat()}; it can wait longer, not shorter."
        return Refuse("not_later", text, "deadline")
    latest = hold.at + timedelta(seconds=MAX_TIMEOUT_S)
    if wish.deadline > latest:
        text = f"deadline: run {run.id} can wait until {latest.isoformat()} at most, 366 days after its hold opened."
        return Refuse("too_long", text, "deadline")
    return None


def _taken(wish: Extension, run: Run, auth: str) -> Take | Said:
    """The extension in the next box; nothing where the run waits until then as it is."""
    if wish.deadline == run.current.deadline:
        return Said()
    fact = HoldExtended(
        by=wish.by, via="api", comment=wish.comment, digest=wish.digest, auth=auth, deadline=wish.deadline
    )
    return Take(next_box(run), fact)


def next_box(run: Run) -> Slot:
    """Where the next extension of the current hold goes."""
    return Slot(run.id, "extension", run.round, max(run.current.extensions, default=0) + 1)
