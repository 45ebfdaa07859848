"""Comparison of a log with the one that was folded. Pure.

A stream is known by its creation time, its state by one message at one place. A server restored from an older copy
keeps the first and lacks or changes the second; a new stream differs in both.
"""

from hashlib import sha256
from typing import Final

from msgspec import Struct

from shared.contracts.messages import Message
from shared.runtime.log import End

MARGIN: Final = 10_000
"""Messages that may have been acknowledged beyond those that a coordinator has noticed: more than a log takes in the
second between two saves of a projection."""


class Checkpoint(Struct, frozen=True):
    """How far a log is folded, and marks by which to recognize it."""

    created: str
    """When the stream was created."""
    seq: int
    """The last message that is folded; 0 for none."""
    sha256: str
    """Of the data of that message."""
    time: str = ""
    """When that message was stored; empty where a release before this one saved the checkpoint."""
    last: int = 0
    """The greatest sequence that the log is known to have given."""
    owed: int = 0
    """The last sequence of a truncation that is still to be recorded in the log; 0 for none."""
    used: int = 0
    """The last sequence that may have been given before a truncation, as far as the log records any; 0 for none."""


class Divergence(Struct, frozen=True):
    """How a log differs from the folded one, and whether it may give sequences again."""

    reason: str
    gives_again: bool = True


def divergence(folded: Checkpoint, end: End, message: Message | None) -> Divergence | None:
    """How the log that ends at `end` and has `message` at the checkpoint's place differs; `None` if it does not."""
    last = max(folded.seq, folded.last)
    if end.created.isoformat() != folded.created:
        return Divergence(f"its stream was created at {end.created.isoformat()}, and not at {folded.created}")
    if end.last < last:
        return Divergence(f"it ends at {end.last}, and was read up to {last}")
    if folded.seq == 0:
        return None
    if message is None:
        return Divergence(f"message {folded.seq}, the last that was read, is gone", gives_again=False)
    if sha256(message.data).hexdigest() != folded.sha256 or folded.time not in ("", message.time.isoformat()):
        return Divergence(f"message {folded.seq} is another one than was read there")
    return None


def owed(folded: Checkpoint, found: Divergence) -> int:
    """Last sequence that may have been given before, to be recorded in the log; 0 if none is given again."""
    given = max(folded.seq, folded.last) + MARGIN if found.gives_again else 0
    return max(given, folded.owed)
