"""Spans and tracers, independent of OpenTelemetry.

A span is written whole when it is over, so that no wait keeps one open and a process that dies leaves no half of one.
`otlp.py` speaks OpenTelemetry and is imported only if traces are exported.
"""

from collections.abc import Mapping
from contextvars import ContextVar
from datetime import datetime
from typing import Final, Literal, Protocol

from msgspec import Struct

Attribute = str | int | float | bool


class Span(Struct, frozen=True, kw_only=True):
    """A finished operation. `error` is the code of its failure, never a text; `id` 16 hex digits, or empty for a random
    one.
    """

    name: str
    kind: Literal["internal", "consumer", "producer", "client"]
    began: datetime
    ended: datetime
    attributes: Mapping[str, Attribute]
    error: str = ""
    id: str = ""
    children: tuple["Span", ...] = ()


class Tracer(Protocol):
    """Exports spans in the background. Implementations must not raise or block."""

    @property
    def content(self) -> bool:
        """True if prompts and replies may be exported."""
        ...

    def tell(self, run: str, traceparent: str | None, *spans: Span) -> None:
        """Export spans of a run below the run's own span, which is below the request's span, if the request named one.

        Nothing is exported if the run has no valid trace or is not sampled.
        """

    def close(self) -> None:
        """Export the remaining spans, within a few seconds."""


class TraceScope(Struct, eq=False):
    """The run that is worked on, and the list that collects spans of the parts."""

    run: str
    traceparent: str | None = None
    spans: list[Span] | None = None
    """Collects the spans of the parts; `None` if traces are not exported."""
    content: bool = False
    """True if spans may contain prompts and replies."""


CURRENT_SCOPE: Final[ContextVar[TraceScope | None]] = ContextVar("within", default=None)
"""The scope of the current asyncio task; set where work on a run begins."""
