"""How many runs stand where, counted in the projection's file when somebody asks, over a connection of its own.

So the runs themselves cost nothing while they wait, and whoever counts keeps nobody from folding.
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


class Census(Struct, frozen=True):
    """Open runs by status, how many are late, how many wait for a person; of these the oldest hold, the next deadline.

    Moments are in seconds since 1970, and `None` where nothing is on hold.
    """

    open: Mapping[str, int]
    late: int
    held: int
    oldest: float | None
    nearest: float | None


def taken(path: Path, *, late_before: datetime) -> Census:
    """The census now; late is what was due to move before then. Raises `sqlite3.Error` where it cannot be taken."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
        counted: Mapping[str, int] = dict(db.execute(_STANDING))
        [late] = db.execute(_LATE, (late_before.timestamp(),)).fetchone()
        held, oldest, nearest = db.execute("SELECT count(*), min(opened), min(deadline) FROM hold").fetchone()
    return Census({status: counted.get(status, 0) for status in OPEN}, late, held, oldest, nearest)
