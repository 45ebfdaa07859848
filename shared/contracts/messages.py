"""Messages as the log stores them, and the state of a queue of tasks."""

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct


class Message(Struct, frozen=True):
    """One stored message. `seq` is its place in the log, `time` when the server stored it.

    `text` is the data of a fact that `data` only refers to, once somebody has fetched it: see `dataref.py`.
    """

    subject: str
    seq: int
    time: datetime
    data: bytes
    headers: Mapping[str, str] = {}
    text: bytes | None = None


class Fill(Struct, frozen=True):
    """Bytes for a slot."""

    subject: str
    data: bytes


class Queue(Struct, frozen=True):
    """How the tasks of a shared consumer stand.

    `waiting` were not handed out yet; `in_flight` were, and are not acknowledged, `limit` at most, `redelivered` of
    them more than once. `asking` counts the standing orders of workers that have room for more. Tasks up to the place
    `handed_out` have been handed out at least once.
    """

    waiting: int
    in_flight: int
    limit: int
    redelivered: int
    asking: int
    handed_out: int
