"""What the coordinator asks of a worker. Each task carries all that its step needs."""

from msgspec import Struct

from shared.contracts.evidence import Finding


class PlanTask(Struct, frozen=True, tag_field="kind", tag="plan"):
    """Break the question into sub-queries. `asked` are those of earlier rounds, `feedback` the reviewers' words."""

    q: str
    feedback: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()


class FetchTask(Struct, frozen=True, tag_field="kind", tag="fetch"):
    """Find sources for one sub-query. `tools` narrows the operator's tools; empty means all of them."""

    query: str
    tools: tuple[str, ...] = ()


class SynthesizeTask(Struct, frozen=True, tag_field="kind", tag="synthesize"):
    """Write the report from exactly these findings: what the decision `digest` was taken on, less what it excludes."""

    q: str
    digest: str
    findings: tuple[Finding, ...]


Task = PlanTask | FetchTask | SynthesizeTask
