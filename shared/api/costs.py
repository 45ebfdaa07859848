"""Costs in the HTTP API."""

import msgspec
from pydantic import BaseModel

from shared.contracts.evidence import Usage
from shared.domain.run import Run


class UsageView(BaseModel):
    """Model calls, their tokens, and their cost in US dollars: without the `unpriced` calls, null if no call has a
    price.
    """

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None
    unpriced: int = 0
    estimated: int = 0


class EstimateView(BaseModel):
    """What writing the report takes at most; null where no price is known. `cost_usd` is of the call that writes it,
    `most_usd` of all that may follow: corrections of the reply and of its quotes, and the judge."""

    model: str
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    most_usd: float | None = None


def usage_view(usage: Usage) -> UsageView:
    """Usage as the API returns it."""
    return UsageView(**msgspec.structs.asdict(usage))


def estimate_view(run: Run) -> EstimateView | None:
    """Estimate of writing the report of the current hold; None without a hold or a model that writes."""
    hold = run.current.hold
    return EstimateView(**msgspec.structs.asdict(hold.fact.estimate)) if hold and hold.fact.estimate else None
