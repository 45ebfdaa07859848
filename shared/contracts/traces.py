"""Trace context of a run (W3C), and span ids that are derived from the run.

The process that writes a span, days after its children, knows only the run's facts. Therefore the ids of parent spans
are hashes of data that every process knows.
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
    """A position in a trace: trace id (32 hex digits), span id (16 hex digits), and the sampled flag."""

    trace_id: str
    span_id: str
    is_sampled: bool = True


def parse_traceparent(traceparent: str | None) -> Trace | None:
    """Parse a `traceparent` after W3C Trace Context; `None` if it is missing or invalid."""
    match = _TRACEPARENT.fullmatch(traceparent or "")
    if match is None or (match[1] == "00" and match[5]):
        return None
    return Trace(match[2], match[3], bool(int(match[4], 16) & _SAMPLED))


def derive_traceparent(run: str, seq: int) -> str:
    """Return the `traceparent` of a run whose request had none. Its span id is that of the run's own span, which is the
    root.
    """
    trace_id = sha256(f"{run} {seq}".encode()).hexdigest()[:32]
    return f"00-{trace_id}-{run_span_id(trace_id, run)}-01"


def run_span_id(trace_id: str, run: str) -> str:
    """Span id (16 hex digits) of the span of the whole run."""
    return _hash(f"{trace_id} {run}")


def hold_span_id(trace_id: str, run: str, round_: int) -> str:
    """Span id (16 hex digits) of the span of a round's hold."""
    return _hash(f"{trace_id} {run} hold.{round_}")


def _hash(text: str) -> str:
    """First 16 hex digits of the SHA-256 of `text`."""
    return sha256(text.encode()).hexdigest()[:16]
