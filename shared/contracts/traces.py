"""The trace of a run: W3C trace context, and the span ids that follow from the run itself.

Who writes a span, days and processes away from its children, has nothing but the run's facts. So the ids of the spans
that others stand under are hashes of what all of them know.
"""

import re
from hashlib import sha256
from typing import Final

from msgspec import Struct

_TRACEPARENT: Final = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)
_SAMPLED: Final = 0x01


class Trace(Struct, frozen=True):
    """A place in a trace: 32 hex digits, the 16 of one of its spans, and whether anybody records it."""

    trace_id: str
    span_id: str
    is_sampled: bool = True


def parse_traceparent(traceparent: str | None) -> Trace | None:
    """The place that a `traceparent` names; `None` for what is none, as W3C Trace Context has it."""
    match = _TRACEPARENT.fullmatch(traceparent or "")
    if match is None or (match[1] == "00" and match[5]):
        return None
    return Trace(match[2], match[3], bool(int(match[4], 16) & _SAMPLED))


def derive_traceparent(run: str, seq: int) -> str:
    """The `traceparent` of a run that came without one. It names the run's own span, so that nothing is above it."""
    trace_id = sha256(f"{run} {seq}".encode()).hexdigest()[:32]
    return f"00-{trace_id}-{run_span_id(trace_id, run)}-01"


def run_span_id(trace_id: str, run: str) -> str:
    """The id of the span that is the run."""
    return _hash(f"{trace_id} {run}")


def hold_span_id(trace_id: str, run: str, round_: int) -> str:
    """The id of the span that is the wait for a person in that round."""
    return _hash(f"{trace_id} {run} hold.{round_}")


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]
