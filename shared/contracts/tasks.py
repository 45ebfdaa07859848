"""What the coordinator asks of a worker. Each task carries all that its step needs."""

from collections.abc import Iterable
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from shared.contracts.evidence import Call, Finding, usage_of


class PlanTask(Struct, frozen=True, tag_field="kind", tag="plan"):
    """Break the question into sub-queries. `asked` are those that are known, `feedback` the reviewers' words."""

    q: str
    feedback: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    budget_usd: float | None = None
    """What its model calls may cost together; `None` for no limit."""


class FetchTask(Struct, frozen=True, tag_field="kind", tag="fetch"):
    """Find sources for one sub-query. `tools` narrows the operator's tools; empty means all of them."""

    query: str
    tools: tuple[str, ...] = ()


class SynthesizeTask(Struct, frozen=True, tag_field="kind", tag="synthesize"):
    """Write the report from exactly these findings: what the decision `digest` was taken on, less what it excludes."""

    q: str
    digest: str
    findings: tuple[Finding, ...]
    budget_usd: float | None = None
    """As in `PlanTask`."""


Task = PlanTask | FetchTask | SynthesizeTask
T = TypeVar("T", bound=Task)


def less(task: T, calls: Iterable[Call]) -> T:
    """`task`, with what these calls cost taken from its budget."""
    match task:
        case PlanTask(budget_usd=float(budget)) | SynthesizeTask(budget_usd=float(budget)):
            return replace(task, budget_usd=max(0.0, budget - (usage_of(calls).cost_usd or 0.0)))
        case _:
            return task
