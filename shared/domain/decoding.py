"""Decoding of slots: stored bytes as facts. Pure, and never raises.

Unreadable bytes become a failure of their step, or a fact that parks their run.
"""

from datetime import datetime
from hashlib import sha256
from typing import Final, get_args

from shared.contracts import envelope
from shared.contracts.envelope import Event
from shared.contracts.evidence import Failure
from shared.contracts.facts import (
    AttemptFailed,
    Decision,
    Fact,
    FetchFailed,
    FetchOutcome,
    HoldExtended,
    HoldOpened,
    PlanFailed,
    PlanOutcome,
    RunAccepted,
    RunCompleted,
    SynthesisFailed,
    SynthesisOutcome,
    TaskIssued,
    VoteCast,
)
from shared.contracts.messages import Message
from shared.contracts.subjects import Slot
from shared.domain.run import Recorded, UnknownFact
from shared.errors import UnknownType, Unreadable

_DIGESTED: Final = ("accepted", "plan", "fetch")
_BOXES: Final[dict[str, tuple[type, ...]]] = {
    "accepted": (RunAccepted,),
    "task": (TaskIssued,),
    "attempt": (AttemptFailed,),
    "plan": get_args(PlanOutcome),
    "fetch": get_args(FetchOutcome),
    "hold": (HoldOpened,),
    "extension": (HoldExtended,),
    "vote": (VoteCast,),
    "decision": get_args(Decision),
    "synthesis": get_args(SynthesisOutcome),
    "completed": (RunCompleted,),
    "other": (),
}


def decode_fact(slot: Slot, data: bytes, *, seq: int, stored_at: datetime, text: bytes | None = None) -> Recorded:
    """The fact in a slot's `data`, or in the `text` that it refers to.

    Unreadable or unknown ones as `unreadable_fact` says.
    """
    try:
        event = envelope.decode(data, text)
    except Unreadable as error:
        return Recorded(slot, seq, stored_at, _hash(slot, data), unreadable_fact(slot, str(error)), stored_at)
    except UnknownType as error:
        return Recorded(slot, seq, stored_at, _hash(slot, data), UnknownFact(str(error)), stored_at)
    fact = fact_for_slot(slot, event.fact)
    return Recorded(slot, seq, stored_at, _hash(slot, data), fact, event.time, event.traceparent)


def known_fact(slot: Slot, data: bytes, event: Event, *, seq: int, stored_at: datetime) -> Recorded:
    """The fact `event` as recorded, without decoding `data`, which is known to be its bytes."""
    return Recorded(slot, seq, stored_at, _hash(slot, data), event.fact, event.time, event.traceparent)


def _hash(slot: Slot, data: bytes) -> str:
    """SHA-256 in hex of the bytes of a fact that is part of the digest; empty for any other."""
    return sha256(data).hexdigest() if slot.name in _DIGESTED else ""


def unreadable_fact(slot: Slot, reason: str) -> Fact | UnknownFact:
    """Fact for a slot that cannot be read: a failed outcome or attempt for a step, else one that parks the run."""
    error = Failure("unreadable", f"The fact in {slot.path} cannot be read: {reason}")
    match slot.name:
        case "plan":
            return PlanFailed(error=error)
        case "fetch":
            return FetchFailed(query="", error=error)
        case "synthesis":
            return SynthesisFailed(error=error)
        case "attempt":
            return AttemptFailed(error=error, duration_s=0)
        case _:
            return UnknownFact(error.message)


def fact_for_slot(slot: Slot, fact: Fact) -> Fact | UnknownFact:
    """The fact, or an `UnknownFact` that parks the run if its type does not belong in this slot."""
    if isinstance(fact, _BOXES[slot.name]):
        return fact
    return UnknownFact(f"{slot.path} holds a {type(fact).__name__}, and this release knows none there.")


def decode_message(slot: Slot, message: Message) -> Recorded:
    """The fact in a stored message, whose `text` is loaded if it refers to one."""
    return decode_fact(slot, message.data, seq=message.seq, stored_at=message.time, text=message.text)
