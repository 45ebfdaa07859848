"""Counts of runs by status, read from the projection's file over a connection of its own.

Runs cost nothing while they wait, and counting does not block folding.
"""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Final

from msgspec import Struct

from shared.domain.run import OPEN

_OPEN: Final = ", ".join(repr(status) for status in OPEN)
_STANDING: Final = f"SELECT status, count(*) FROM run WHERE status IN ({_OPEN}) GROUP BY status"  # noqa: S608  fixed text
_LATE: Final = "SELECT count(*) FROM run WHERE owed_since <= ?"


class RunCensus(Struct, frozen=True):
    """Open runs by status, late runs, open holds; of these the oldest opening and the next deadline.

    Times are in seconds since 1970, and `None` without holds.
    """

    open: Mapping[str, int]
    late: int
    held: int
    oldest: float | None
    nearest: float | None


def take_census(path: Path, *, late_before: datetime) -> RunCensus:
    """Count now; late are runs due to move before `late_before`. Raises `sqlite3.Error` if the file cannot be read."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
        counted: Mapping[str, int] = dict(db.execute(_STANDING))
        [late] = db.execute(_LATE, (late_before.timestamp(),)).fetchone()
        held, oldest, nearest = db.execute("SELECT count(*), min(opened), min(deadline) FROM hold").fetchone()
    return RunCensus({status: counted.get(status, 0) for status in OPEN}, late, held, oldest, nearest)
