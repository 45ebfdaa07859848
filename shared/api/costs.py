"""What the HTTP API says of costs."""

import msgspec
from pydantic import BaseModel

from shared.contracts.evidence import Usage
from shared.domain.run import Run


class UsageView(BaseModel):
    """Model calls and what they cost. `cost_usd` leaves out the `unpriced`, and is null where no price is known."""

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
    """What model calls cost."""
    return UsageView(**msgspec.structs.asdict(usage))


def estimate_view(run: Run) -> EstimateView | None:
    """What the report of the current hold may cost."""
    hold = run.current.hold
    return EstimateView(**msgspec.structs.asdict(hold.fact.estimate)) if hold and hold.fact.estimate else None
