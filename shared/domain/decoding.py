"""What is stored in a slot as the fact that it is. Pure.

Never raises: what cannot be read is a failure of its step, or parks its run.
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
from shared.contracts.subjects import Slot
from shared.domain.run import Recorded, Unknown
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


def recorded(slot: Slot, data: bytes, *, seq: int, stored_at: datetime, text: bytes | None = None) -> Recorded:
    """The fact in these bytes, or in the `text` that they refer to."""
    try:
        event = envelope.decode(data, text)
    except Unreadable as error:
        return Recorded(slot, seq, stored_at, _hash(slot, data), salvaged(slot, str(error)), stored_at)
    except UnknownType as error:
        return Recorded(slot, seq, stored_at, _hash(slot, data), Unknown(str(error)), stored_at)
    fact = placed(slot, event.fact)
    return Recorded(slot, seq, stored_at, _hash(slot, data), fact, event.time, event.traceparent)


def written(slot: Slot, data: bytes, event: Event, *, seq: int, stored_at: datetime) -> Recorded:
    """The fact `event`, which these bytes are known to hold."""
    return Recorded(slot, seq, stored_at, _hash(slot, data), event.fact, event.time, event.traceparent)


def _hash(slot: Slot, data: bytes) -> str:
    return sha256(data).hexdigest() if slot.box in _DIGESTED else ""


def salvaged(slot: Slot, reason: str) -> Fact | Unknown:
    """What becomes of a slot that cannot be read: a failure of its step, or what parks its run."""
    error = Failure("unreadable", f"What was written to {slot.path} cannot be read: {reason}")
    match slot.box:
        case "plan":
            return PlanFailed(error=error)
        case "fetch":
            return FetchFailed(query="", error=error)
        case "synthesis":
            return SynthesisFailed(error=error)
        case "attempt":
            return AttemptFailed(error=error, duration_s=0)
        case _:
            return Unknown(error.message)


def placed(slot: Slot, fact: Fact) -> Fact | Unknown:
    """The fact; what parks its run where this release has no such box, or not for this."""
    if isinstance(fact, _BOXES[slot.box]):
        return fact
    return Unknown(f"{slot.path} holds a {type(fact).__name__}, and this release knows none there.")
