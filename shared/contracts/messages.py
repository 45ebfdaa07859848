"""Messages as the log stores them, and the state of a queue of tasks."""

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct


class Message(Struct, frozen=True):
    """One stored message. `seq` is its sequence in the stream, `time` the time at which the server stored it.

    `text` is the data of a fact whose `data` only refers to a text in `EVIDENCE`, once that was loaded: see
    `dataref.py`.
    """

    subject: str
    seq: int
    time: datetime
    data: bytes
    headers: Mapping[str, str] = {}
    text: bytes | None = None


class Fill(Struct, frozen=True):
    """Bytes to write to a slot's subject, if it is empty."""

    subject: str
    data: bytes


class Queue(Struct, frozen=True):
    """The state of a durable consumer of tasks.

    `waiting` tasks were not handed out yet. `in_flight` tasks were, and are not acknowledged: at most `limit`, of which
    `redelivered` were handed out more than once. `asking` counts the open pull requests of workers. Every task up to
    sequence `handed_out` was handed out at least once.
    """

    waiting: int
    in_flight: int
    limit: int
    redelivered: int
    asking: int
    handed_out: int
