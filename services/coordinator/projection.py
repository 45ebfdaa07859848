"""The fold of the log, kept in SQLite for reading and for a quick start. It may be deleted at any time."""

import logging
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from services.coordinator.intake import deadline_of
from services.coordinator.run import FOLD_VERSION, Run, pack, unpack
from shared.runtime.log import Message

logger = logging.getLogger(__name__)

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS run (
  id TEXT PRIMARY KEY,
  place INTEGER NOT NULL,
  status TEXT NOT NULL,
  q TEXT NOT NULL,
  deadline REAL,
  wake_at REAL,
  state BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS run_wake ON run (wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS run_place ON run (place);
CREATE INDEX IF NOT EXISTS run_status ON run (status, place);
CREATE TABLE IF NOT EXISTS unanswered (seq INTEGER PRIMARY KEY, message BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS checkpoint (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  fold_version INTEGER NOT NULL,
  created TEXT NOT NULL,
  seq INTEGER NOT NULL,
  sha256 TEXT NOT NULL
);
"""
_SAVE_RUN: Final = """
INSERT INTO run (id, place, status, q, deadline, wake_at, state) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET place = excluded.place, status = excluded.status, q = excluded.q,
  deadline = excluded.deadline, wake_at = excluded.wake_at, state = excluded.state
"""

_encode_message: Final = msgspec.msgpack.Encoder().encode
_decode_message: Final = msgspec.msgpack.Decoder(Message).decode


class Checkpoint(Struct, frozen=True):
    """How far the log is folded, and of which log: its creation and the hash of the last folded message."""

    created: str
    seq: int
    sha256: str


class Projection:
    """One SQLite file. All writes of one turn are one transaction, checkpoint included."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = _opened(path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            logger.warning("%s is damaged (%s); it is made again from the log.", path, error)
            for part in ("", "-wal", "-shm"):
                path.with_name(path.name + part).unlink(missing_ok=True)
            self._db = _opened(path)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def checkpoint(self) -> Checkpoint | None:
        """How far this projection goes; `None` for an empty one or one of another fold."""
        row = self._db.execute("SELECT fold_version, created, seq, sha256 FROM checkpoint").fetchone()
        return Checkpoint(*row[1:]) if row and row[0] == FOLD_VERSION else None

    def clear(self) -> None:
        """Forget everything."""
        self._db.executescript("DROP TABLE run; DROP TABLE unanswered; DROP TABLE checkpoint;" + _SCHEMA)

    def save(
        self,
        runs: Iterable[tuple[Run, float | None]],
        checkpoint: Checkpoint,
        *,
        unanswered: Iterable[Message],
        answered: Iterable[int],
    ) -> None:
        """Store these runs, each with the moment to look at it again (0: at once), and where the log stands.

        `unanswered` are the contract messages that came since the last time, `answered` those of before to forget.
        """
        rows = [row(run, wake_at) for run, wake_at in runs]
        self._db.execute("BEGIN")
        self._db.executemany(_SAVE_RUN, rows)
        self._db.executemany("DELETE FROM unanswered WHERE seq = ?", [(seq,) for seq in answered])
        self._db.executemany(
            "INSERT OR REPLACE INTO unanswered VALUES (?, ?)",
            [(message.seq, _encode_message(message)) for message in unanswered],
        )
        self._db.execute(
            "INSERT OR REPLACE INTO checkpoint VALUES (1, ?, ?, ?, ?)",
            (FOLD_VERSION, checkpoint.created, checkpoint.seq, checkpoint.sha256),
        )
        self._db.execute("COMMIT")

    def load(self, run: str) -> Run | None:
        """The run as it was saved."""
        row = self._db.execute("SELECT state FROM run WHERE id = ?", (run,)).fetchone()
        return unpack(row[0]) if row else None

    def unanswered(self, *, limit: int) -> list[Message]:
        """The oldest contract messages whose consequence was not yet recorded."""
        rows = self._db.execute("SELECT message FROM unanswered ORDER BY seq LIMIT ?", (limit,))
        return [_decode_message(message) for (message,) in rows]

    def due(self, now: datetime, *, limit: int) -> list[str]:
        """Runs to look at again by `now`, the longest due first."""
        rows = self._db.execute(
            "SELECT id FROM run WHERE wake_at <= ? ORDER BY wake_at LIMIT ?", (now.timestamp(), limit)
        )
        return [run for (run,) in rows]

    def next_wake(self, *, after: datetime | None = None) -> float | None:
        """The earliest moment (beyond `after`) to look at any run again, in seconds since 1970."""
        floor = after.timestamp() if after else -1.0
        return self._db.execute("SELECT min(wake_at) FROM run WHERE wake_at > ?", (floor,)).fetchone()[0]

    def select(self, *, statuses: Sequence[str], text: str, before: int | None, limit: int) -> list[Run]:
        """Runs, newest first, of these statuses (all, if none is named), whose question or id has `text` in it."""
        where = ["place < ?"] if before is not None else []
        values: list[object] = [before] if before is not None else []
        if statuses:
            where.append(f"status IN ({', '.join('?' * len(statuses))})")
            values += statuses
        if text:
            where.append("(q LIKE ? ESCAPE '\\' OR id LIKE ? ESCAPE '\\')")
            values += [_containing(text)] * 2
        clause = f"WHERE {' AND '.join(where)}" if where else ""
        rows = self._db.execute(
            f"SELECT state FROM run {clause} ORDER BY place DESC LIMIT ?",  # noqa: S608  only fixed text is joined
            (*values, limit),
        )
        return [unpack(state) for (state,) in rows]


def _opened(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;" + _SCHEMA)
    except sqlite3.DatabaseError:
        db.close()
        raise
    return db


def row(run: Run, wake_at: float | None) -> tuple[object, ...]:
    """The run as a row of the table `run`."""
    deadline = deadline_of(run)
    return (
        run.id,
        run.accepted.seq if run.accepted else run.seq,
        run.status,
        run.accepted.fact.q if run.accepted else "",
        deadline.timestamp() if deadline else None,
        wake_at,
        pack(run),
    )


def _containing(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
