"""The projection of whichever release runs, read beside it: what that release made of each open run.

Another release's state may have another form. What cannot be read of it is not compared, and nothing is ever written.
"""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, get_args

import msgspec
from msgspec import Struct

from services.coordinator.engine.fold import AT_ONCE
from shared.contracts.facts import Outcome
from shared.domain.decisions import deadline_of
from shared.domain.owed import owed
from shared.domain.replay import Difference, boxes
from shared.domain.run import Run

_SAME: Final = timedelta(milliseconds=1)
_OPEN: Final = f"status NOT IN ({', '.join(repr(outcome) for outcome in get_args(Outcome))})"

Readable = dict[Any, Any]


class Standing(Struct, frozen=True):
    """One open run as it is recorded. `filled` and `digests` (by round) are `None` where they cannot be read."""

    id: str
    status: str
    deadline: float | None
    wake_at: float | None
    filled: frozenset[str] | None
    digests: dict[int, str] | None


class Standings:
    """A projection file, opened for reading alone, as it is at this moment. Raises `sqlite3.Error` for what is none."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        try:
            self._db.execute("BEGIN")
            row = self._db.execute("SELECT created, seq, fold_version FROM checkpoint").fetchone()
            self.answered = not self._db.execute("SELECT 1 FROM unanswered LIMIT 1").fetchone()
        except sqlite3.Error:
            self._db.close()
            raise
        self.created, self.seq, self.fold_version = row or ("", 0, 0)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __iter__(self) -> Iterator[Standing]:
        """Every open run, oldest first."""
        rows = self._db.execute(f"SELECT id, status, deadline, wake_at, state FROM run WHERE {_OPEN} ORDER BY place")  # noqa: S608
        for run, status, deadline, wake_at, state in rows:
            yield Standing(run, status, deadline, wake_at, *_read(state))


def compared(run: Run, standing: Standing, *, answered: bool) -> Iterator[Difference]:
    """How this code's fold of the same facts differs from what is recorded, as far as the two can be compared."""
    if run.status != standing.status:
        yield Difference(run.id, "", f"status: this release says {run.status}, recorded is {standing.status}")
    deadline = deadline_of(run)
    if not _same(deadline, standing.deadline):
        yield Difference(run.id, "", f"deadline: this release says {deadline}, recorded is {_at(standing.deadline)}")
    if standing.filled is not None and (odd := boxes(run) ^ standing.filled):
        yield Difference(run.id, min(odd), "is filled for only one of the two releases")
    for number, digest in (standing.digests or {}).items():
        hold = run.in_round(number).hold
        if hold and hold.fact.digest != digest:
            yield Difference(run.id, f"hold.{number}", "digest: recorded is another")
    if answered and standing.wake_at != AT_ONCE:
        yield from _at_rest(run, standing)


def _at_rest(run: Run, standing: Standing) -> Iterator[Difference]:
    """The running release owes nothing before `wake_at`. So, asked at the time of the newest fact, must this one."""
    latest = max((box.at for round_ in run.rounds.values() for box in round_.attempts.values()), default=_EPOCH)
    due = owed(run, latest)
    for slot in (*(slot for slot, _ in due.facts), *(copy.slot for copy in due.copies)):
        yield Difference(run.id, slot.path, "this release owes it now, and the running one does not")
    if not due and not _same(due.wake_at, standing.wake_at):
        text = f"looked at next: this release says {due.wake_at}, recorded is {_at(standing.wake_at)}"
        yield Difference(run.id, "", text)


_EPOCH: Final = datetime.fromtimestamp(0, UTC)


def _same(mine: datetime | None, recorded: float | None) -> bool:
    return (mine is None) == (recorded is None) and (
        mine is None or recorded is None or abs(mine - _moment(recorded)) < _SAME
    )


def _at(recorded: float | None) -> datetime | None:
    return None if recorded is None else _moment(recorded)


def _moment(recorded: float) -> datetime:
    return datetime.fromtimestamp(recorded, UTC)


def _read(state: bytes) -> tuple[frozenset[str] | None, dict[int, str] | None]:
    """The filled boxes and the holds' digests of a run that any release packed; `None` for what has another form."""
    try:
        run: Readable = msgspec.msgpack.decode(state)
        rounds: Readable = run["rounds"]
        filled = {name for name in ("accepted", "completed") if run[name]}
        for number, round_ in rounds.items():
            filled |= _filled(int(number), round_)
        digests = {int(number): str(one["hold"]["fact"]["digest"]) for number, one in rounds.items() if one["hold"]}
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError, AttributeError):
        return None, None
    return frozenset(filled), digests


_SINCE: Final = {"vote": "votes", "extension": "extensions"}
"""Boxes that a release may not know yet, and what a round calls them."""


def _filled(number: int, round_: Readable) -> set[str]:
    filled = {f"{name}.{number}" for name in ("plan", "hold", "decision", "synthesis") if round_[name]}
    filled |= {f"fetch.{number}.{index}" for index in round_["fetches"]}
    filled |= {f"{box}.{number}.{key}" for box, name in _SINCE.items() for key in round_.get(name, ())}
    filled |= set(round_["issued"])
    return filled | {str(path).replace("task.", "attempt.", 1) for path in round_["attempts"]}
