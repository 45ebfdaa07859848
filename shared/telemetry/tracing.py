"""Traces, as far as everybody needs to know of them: what a span is, and who takes it.

A span is written whole, when it is over: no wait keeps one open, and a process that dies leaves no half of one. What
speaks OpenTelemetry is `otlp.py`, which is not even imported unless traces are exported.
"""

from collections.abc import Mapping
from contextvars import ContextVar
from datetime import datetime
from typing import Final, Literal, Protocol

from msgspec import Struct

Attribute = str | int | float | bool


class Span(Struct, frozen=True, kw_only=True):
    """What took a while. `error` is the code of what went wrong, never a text; `id` 16 hex digits, or any."""

    name: str
    kind: Literal["internal", "consumer", "producer", "client"]
    began: datetime
    ended: datetime
    attributes: Mapping[str, Attribute]
    error: str = ""
    id: str = ""
    children: tuple["Span", ...] = ()


class Tracer(Protocol):
    """Takes spans and exports them, some time. Never raises, never waits."""

    @property
    def content(self) -> bool:
        """Whether prompts and replies may be exported as well."""
        ...

    def tell(self, run: str, traceparent: str | None, *spans: Span) -> None:
        """Export spans of a run, below the run's own span; that one below what its publisher named, if anything.

        Nothing where the run has no trace, or nobody records it.
        """
        ...

    def close(self) -> None:
        """Export what is left, within a few seconds."""
        ...


class TraceScope(Struct, eq=False):
    """What is being done for which run, for whoever is called to do a part of it."""

    run: str
    traceparent: str | None = None
    spans: list[Span] | None = None
    """Where spans of the parts go; `None` where nobody takes them."""
    content: bool = False
    """Whether these may have prompts and replies in them."""


CURRENT_SCOPE: Final[ContextVar[TraceScope | None]] = ContextVar("within", default=None)
"""Set by whoever begins work on a run, in the asyncio task that does it."""
