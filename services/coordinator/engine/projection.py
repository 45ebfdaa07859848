"""Read model of the log in SQLite, for queries and a quick start. It may be deleted at any time."""

import logging
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, cast

import msgspec
from msgspec import Struct

from services.coordinator.engine.divergence import Checkpoint
from services.coordinator.engine.summary import RunRow, run_row
from shared.contracts.messages import Message
from shared.domain import failures
from shared.domain.decisions import decision_deadline
from shared.domain.failures import FailureRecord
from shared.domain.run import FOLD_VERSION, Run, pack, unpack
from shared.domain.steps import due_since

logger = logging.getLogger(__name__)

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS run (
  id TEXT PRIMARY KEY,
  place INTEGER NOT NULL,
  status TEXT NOT NULL,
  q TEXT NOT NULL,
  created REAL,
  deadline REAL,
  wake_at REAL,
  owed_since REAL,
  brief BLOB NOT NULL,
  state BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS run_wake ON run (wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS run_place ON run (place);
CREATE INDEX IF NOT EXISTS run_status ON run (status, place);
CREATE INDEX IF NOT EXISTS run_deadline ON run (status, deadline, place);
CREATE INDEX IF NOT EXISTS run_owed ON run (owed_since) WHERE owed_since IS NOT NULL;
CREATE TABLE IF NOT EXISTS failure (
  seq INTEGER PRIMARY KEY,
  kind TEXT NOT NULL,
  run TEXT NOT NULL,
  code TEXT NOT NULL,
  at REAL NOT NULL,
  text TEXT NOT NULL,
  failed BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS failure_run ON failure (run, seq);
CREATE INDEX IF NOT EXISTS failure_code ON failure (code, seq);
CREATE TABLE IF NOT EXISTS hold (run TEXT PRIMARY KEY, opened REAL NOT NULL, deadline REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS unanswered (seq INTEGER PRIMARY KEY, message BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS checkpoint (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  fold_version INTEGER NOT NULL,
  created TEXT NOT NULL,
  seq INTEGER NOT NULL,
  sha256 TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS log (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  created TEXT NOT NULL,
  seq INTEGER NOT NULL,
  sha256 TEXT NOT NULL,
  time TEXT NOT NULL,
  last INTEGER NOT NULL,
  owed INTEGER NOT NULL,
  used INTEGER NOT NULL
);
"""
_SAVE_RUN: Final = """
INSERT INTO run (id, place, status, q, created, deadline, wake_at, owed_since, brief, state)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET place = excluded.place, status = excluded.status, q = excluded.q,
  created = excluded.created, deadline = excluded.deadline, wake_at = excluded.wake_at,
  owed_since = excluded.owed_since, brief = excluded.brief, state = excluded.state
"""
_SAVE_FAILURE: Final = "INSERT OR REPLACE INTO failure VALUES (?, ?, ?, ?, ?, ?, ?)"
_FORGET: Final = "".join(
    f"DROP TABLE IF EXISTS {name};" for name in ("run", "failure", "hold", "unanswered", "checkpoint")
)
"""Drops all tables but `log`, so that the log can still be recognized."""

_LARGE_RUN_BYTES: Final = 512 * 1024
"""Bytes of a packed run. The average run has some tens of thousands."""

_WAL_PAGES: Final = 8_192
"""Pages (of 4 KiB) written before the disk is waited for: with SQLite's 1,000 that was half of a rebuild."""

_encode_message: Final = msgspec.msgpack.Encoder().encode
_decode_message: Final = msgspec.msgpack.Decoder(Message).decode
_encode_row: Final = msgspec.msgpack.Encoder().encode
_decode_row: Final = msgspec.msgpack.Decoder(RunRow).decode
_encode_failed: Final = msgspec.msgpack.Encoder().encode
_decode_failed: Final = msgspec.msgpack.Decoder(FailureRecord).decode


class RunFilter(Struct, frozen=True):
    """Conditions on runs; empty ones match all.

    `text` is searched for in question and id, `code` among the codes of its failures; `since` is when it was accepted,
    `owed_before` selects runs due to move since before then.
    """

    statuses: Sequence[str] = ()
    text: str = ""
    code: str = ""
    since: datetime | None = None
    owed_before: datetime | None = None


class FailureFilter(Struct, frozen=True):
    """Conditions on failures; empty ones match all. `text` is searched for in `FailureRecord.text`."""

    kinds: Sequence[str] = ()
    code: str = ""
    run: str = ""
    text: str = ""
    since: datetime | None = None


class Projection:
    """One SQLite file. A save is one transaction, checkpoint included.

    A damaged file is deleted and made anew, with a warning; `sqlite3.OperationalError` (locked, no space, no
    permission) is raised.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = _open(path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            logger.warning(
                "%s is damaged (%s); it is made again from the log.", path, error, extra={"event": "projection.damaged"}
            )
            for part in ("", "-wal", "-shm"):
                path.with_name(path.name + part).unlink(missing_ok=True)
            self._db = _open(path)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def checkpoint(self) -> Checkpoint | None:
        """How far this projection goes; `None` if it is empty or of another version of the fold."""
        row = self._db.execute("SELECT fold_version, created, seq, sha256 FROM checkpoint").fetchone()
        if not row or row[0] != FOLD_VERSION:
            return None
        known = self.known()
        return known if known and known.seq == row[2] else Checkpoint(*row[1:])

    def known(self) -> Checkpoint | None:
        """How far any release folded the log last; `None` if none did, or none that kept this."""
        row = self._db.execute("SELECT created, seq, sha256, time, last, owed, used FROM log").fetchone()
        return Checkpoint(*row) if row else None

    def clear(self, checkpoint: Checkpoint) -> None:
        """Delete all runs, failures and messages; this checkpoint's log is the one to be folded."""
        self._db.executescript(f"BEGIN; {_FORGET}{_SCHEMA}")
        self._save_checkpoint(checkpoint)
        self._db.execute("COMMIT")

    def save(
        self,
        runs: Iterable[tuple[Run, float | None]],
        checkpoint: Checkpoint,
        *,
        unanswered: Iterable[Message],
        answered: Iterable[int],
        refusals: Iterable[FailureRecord] = (),
    ) -> list[str]:
        """Store runs, each with the time to look at it again (0: at once, `None`: never), and the checkpoint.

        `unanswered` are new contract messages, `answered` sequences of earlier ones to delete, `refusals` new refusals.
        Returns the ids of runs over 512 KiB, which are not worth keeping in memory.
        """
        runs = list(runs)
        failed = [*refusals, *(one for run, _ in runs for one in failures.run_failures(run))]
        rows = [projection_row(run, wake_at) for run, wake_at in runs]
        self._db.execute("BEGIN")
        self._db.executemany(_SAVE_RUN, rows)
        self._save_holds([run for run, _ in runs if any(round_.hold for round_ in run.rounds.values())])
        if failed:
            self._db.executemany(_SAVE_FAILURE, map(_failure_row, failed))
        self._db.executemany("DELETE FROM unanswered WHERE seq = ?", [(seq,) for seq in answered])
        self._db.executemany(
            "INSERT OR REPLACE INTO unanswered VALUES (?, ?)",
            [(message.seq, _encode_message(message)) for message in unanswered],
        )
        self._save_checkpoint(checkpoint)
        self._db.execute("COMMIT")
        return [run.id for (run, _), (*_, state) in zip(runs, rows, strict=True) if len(state) > _LARGE_RUN_BYTES]

    def _save_checkpoint(self, it: Checkpoint) -> None:
        """Store how far the log is folded, and by which version of the fold."""
        self._db.execute(
            "INSERT OR REPLACE INTO checkpoint VALUES (1, ?, ?, ?, ?)", (FOLD_VERSION, it.created, it.seq, it.sha256)
        )
        self._db.execute("INSERT OR REPLACE INTO log VALUES (1, ?, ?, ?, ?, ?, ?, ?)", msgspec.structs.astuple(it))

    def _save_holds(self, runs: Sequence[Run]) -> None:
        """Store open holds with their deadlines, and delete those of runs that are on hold no more."""
        deadlines = [(run, decision_deadline(run)) for run in runs]
        held = [
            (run.id, run.current.hold.at.timestamp(), deadline.timestamp())
            for run, deadline in deadlines
            if deadline and run.current.hold
        ]
        self._db.executemany("INSERT OR REPLACE INTO hold VALUES (?, ?, ?)", held)
        over = [(run.id,) for run, deadline in deadlines if not deadline]
        self._db.executemany("DELETE FROM hold WHERE run = ?", over)

    def load(self, run: str) -> Run | None:
        """The run as it was saved, or `None`."""
        row = self._db.execute("SELECT state FROM run WHERE id = ?", (run,)).fetchone()
        return unpack(row[0]) if row else None

    def unanswered(self, *, limit: int) -> list[Message]:
        """The oldest contract messages that are not answered, by sequence."""
        rows = self._db.execute("SELECT message FROM unanswered ORDER BY seq LIMIT ?", (limit,))
        return [_decode_message(message) for (message,) in rows]

    def due(self, now: datetime, *, limit: int) -> list[str]:
        """Ids of runs to look at again by `now`, the longest due first."""
        rows = self._db.execute(
            "SELECT id FROM run WHERE wake_at <= ? ORDER BY wake_at LIMIT ?", (now.timestamp(), limit)
        )
        return [run for (run,) in rows]

    def next_wake(self, *, after: datetime | None = None) -> float | None:
        """Earliest time to look at any run again, in seconds since 1970, or `None`; with `after`, later than that."""
        floor = after.timestamp() if after else -1.0
        return self._db.execute("SELECT min(wake_at) FROM run WHERE wake_at > ?", (floor,)).fetchone()[0]

    def select(self, wanted: RunFilter, *, before: int | None = None, limit: int) -> list[Run]:
        """Runs that match, newest first; with `before`, older than the run at that place."""
        clause, values = _run_conditions(wanted, before)
        rows = self._db.execute(f"SELECT state FROM run {clause} ORDER BY place DESC LIMIT ?", (*values, limit))  # noqa: S608
        return [unpack(state) for (state,) in rows]

    def rows(
        self, wanted: RunFilter, *, before: int | None = None, limit: int, by_deadline: bool = False
    ) -> list[RunRow]:
        """The same as rows for lists; with `by_deadline`, those on hold with the nearest deadline first."""
        clause, values = _run_conditions(wanted, before)
        order = "deadline, place" if by_deadline else "place DESC"
        rows = self._db.execute(f"SELECT brief FROM run {clause} ORDER BY {order} LIMIT ?", (*values, limit))  # noqa: S608
        return [_decode_row(row) for (row,) in rows]

    def count(self, statuses: Sequence[str]) -> int:
        """Number of runs with one of these statuses."""
        clause, values = _run_conditions(RunFilter(statuses), None)
        return self._db.execute(f"SELECT count(*) FROM run {clause}", values).fetchone()[0]  # noqa: S608

    def failures(self, wanted: FailureFilter, *, before: int | None = None, limit: int) -> list[FailureRecord]:
        """Failures that match, newest first; with `before`, older than the one at that sequence."""
        where = [
            ("seq < ?", before),
            ("at >= ?", wanted.since.timestamp() if wanted.since else None),
            ("code = ?", wanted.code or None),
            ("run = ?", wanted.run or None),
            ("text LIKE ? ESCAPE '\\'", _like_pattern(wanted.text) if wanted.text else None),
        ]
        if wanted.kinds:
            where += [(f"kind IN ({', '.join('?' * len(wanted.kinds))})", tuple(wanted.kinds))]
        clause, values = _where(where)
        rows = self._db.execute(f"SELECT failed FROM failure {clause} ORDER BY seq DESC LIMIT ?", (*values, limit))  # noqa: S608
        return [_decode_failed(failed) for (failed,) in rows]


def _run_conditions(wanted: RunFilter, before: int | None) -> tuple[str, tuple[object, ...]]:
    """WHERE clause of a filter on runs, and its values."""
    where = [
        ("place < ?", before),
        ("created >= ?", wanted.since.timestamp() if wanted.since else None),
        ("owed_since <= ?", wanted.owed_before.timestamp() if wanted.owed_before else None),
        ("id IN (SELECT run FROM failure WHERE code = ?)", wanted.code or None),
    ]
    if wanted.text:
        where += [("(q LIKE ? ESCAPE '\\' OR id LIKE ? ESCAPE '\\')", (_like_pattern(wanted.text),) * 2)]
    if wanted.statuses:
        where += [(f"status IN ({', '.join('?' * len(wanted.statuses))})", tuple(wanted.statuses))]
    return _where(where)


def _where(conditions: Iterable[tuple[str, object]]) -> tuple[str, tuple[object, ...]]:
    """WHERE clause of the conditions whose value is not `None`, and the values. Conditions are fixed text."""
    kept = [(condition, value) for condition, value in conditions if value is not None]
    values = [
        each for _, value in kept for each in (cast("tuple[object]", value) if isinstance(value, tuple) else (value,))
    ]
    return (f"WHERE {' AND '.join(condition for condition, _ in kept)}" if kept else ""), tuple(values)


def _open(path: Path) -> sqlite3.Connection:
    """Open the file and create its tables; those of another version of the fold are dropped, except `log`.

    Raises `sqlite3.DatabaseError` for a damaged file.
    """
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        db.executescript(
            f"PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = {_WAL_PAGES};"
        )
        [of_fold] = db.execute("PRAGMA user_version").fetchone()
        db.executescript(f"{'' if of_fold == FOLD_VERSION else _FORGET}{_SCHEMA} PRAGMA user_version = {FOLD_VERSION};")
    except sqlite3.DatabaseError:
        db.close()
        raise
    return db


def projection_row(
    run: Run, wake_at: float | None
) -> tuple[str, int, str, str, float | None, float | None, float | None, float | None, bytes, bytes]:
    """The run as a row of the table `run`."""
    deadline, owed = decision_deadline(run), due_since(run)
    return (
        run.id,
        run.accepted.seq if run.accepted else run.seq,
        run.status,
        run.accepted.fact.q if run.accepted else "",
        run.accepted.at.timestamp() if run.accepted else None,
        deadline.timestamp() if deadline else None,
        wake_at,
        owed.timestamp() if owed else None,
        _encode_row(run_row(run)),
        pack(run),
    )


def _failure_row(failed: FailureRecord) -> tuple[object, ...]:
    """The failure as a row of the table `failure`."""
    at = failed.at.timestamp()
    return failed.seq, failed.kind, failed.run, failed.error.code, at, failed.text, _encode_failed(failed)


def _like_pattern(text: str) -> str:
    """LIKE pattern for texts that contain `text`, escaped with a backslash."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
