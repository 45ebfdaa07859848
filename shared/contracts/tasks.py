"""Tasks that the coordinator issues to workers. Each carries all data that its step needs."""

from collections.abc import Iterable
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from shared.contracts.evidence import Call, Finding, usage_of


class PlanTask(Struct, frozen=True, tag_field="kind", tag="plan"):
    """Split the question into sub-queries."""

    q: str
    feedback: tuple[str, ...] = ()
    """The feedback of reviewers in earlier rounds."""
    asked: tuple[str, ...] = ()
    """The sub-queries of earlier rounds and of reviewers."""
    budget_usd: float | None = None
    """US dollars that its model calls may cost together; `null` for no limit."""


class FetchTask(Struct, frozen=True, tag_field="kind", tag="fetch"):
    """Find sources for one sub-query. `tools` narrows the operator's tools; empty means all of them."""

    query: str
    tools: tuple[str, ...] = ()


class SynthesizeTask(Struct, frozen=True, tag_field="kind", tag="synthesize"):
    """Write the report from exactly these findings: the evidence that was decided on, without excluded sources."""

    q: str
    digest: str
    """The digest of that evidence."""
    findings: tuple[Finding, ...]
    budget_usd: float | None = None
    """As in `PlanTask`."""


Task = PlanTask | FetchTask | SynthesizeTask
T = TypeVar("T", bound=Task)


def with_remaining_budget(task: T, calls: Iterable[Call]) -> T:
    """Return `task` with the known cost of `calls` taken from its budget, at least 0; unchanged without a budget."""
    match task:
        case PlanTask(budget_usd=float(budget)) | SynthesizeTask(budget_usd=float(budget)):
            return replace(task, budget_usd=max(0.0, budget - (usage_of(calls).cost_usd or 0.0)))
        case _:
            return task
