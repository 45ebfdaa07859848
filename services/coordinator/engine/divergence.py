"""Whether a log is the one that was folded. Pure.

A stream is known by when it was created, and one state of it by a message at one place. A server whose store was
replaced by an older copy keeps the first and loses or changes the second; a stream that was made anew changes both.
"""

from hashlib import sha256
from typing import Final

from msgspec import Struct

from shared.contracts.messages import Message
from shared.runtime.log import End

MARGIN: Final = 10_000
"""Messages that may have been acknowledged beyond what a coordinator has noticed: more than a log takes in the second
between two saves of a projection."""


class Checkpoint(Struct, frozen=True):
    """How far a log is folded, and how to know that log again."""

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
    """How a log differs from the one that was folded, and whether it may give sequences again."""

    reason: str
    gives_again: bool = True


def divergence(folded: Checkpoint, end: End, message: Message | None) -> Divergence | None:
    """How the log differs that ends at `end` and has `message` at the place of the checkpoint; `None` if not at all."""
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
    """The last sequence that may have been given before, for the log to record; 0 where it gives none again."""
    given = max(folded.seq, folded.last) + MARGIN if found.gives_again else 0
    return max(given, folded.owed)
