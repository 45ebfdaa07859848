"""Figures held against what must be, and against those that were kept. Pure."""

from collections.abc import Iterator
from typing import Final

from tests.evals.figures import Expected, Figures

_DEARER: Final = 1.1
"""A word more in a prompt is no regression; a tenth of the cost is."""
_THINNER: Final = 0.5
"""So much is left at least of the claims of a report that only became shorter."""


def wrong(now: Figures, expected: Expected) -> Iterator[str]:
    """What may never be so, whatever was kept."""
    if now.outcome != expected.outcome:
        yield f"outcome {now.outcome}, expected {expected.outcome}"
    if now.degraded != expected.degraded:
        yield f"{_degraded(now)}, expected {_degraded(expected)}"
    if now.plan:
        yield f"plan: {now.plan}"
    if now.located < now.quotes:
        yield f"located {now.located} of {now.quotes} quotes"


def worse(now: Figures, kept: Figures) -> Iterator[str]:
    """Each figure that has become worse, and by how much."""
    if now.coverage < kept.coverage:
        lost = [fact for fact in now.missing if fact not in kept.missing]
        yield f"facts {_facts(now)}, kept were {_facts(kept)}; lost: {'; '.join(lost)}"
    if now.support < kept.support:
        yield f"supported {_supported(now)}, kept were {_supported(kept)}"
    if now.dropped > kept.dropped:
        yield f"dropped {now.dropped} quotes, kept were {kept.dropped}"
    if now.claims < kept.claims * _THINNER:
        yield f"claims {now.claims}, kept were {kept.claims}"
    if is_dearer(now, kept):
        yield f"cost {cost(now)}, kept was {cost(kept)}"


def is_dearer(now: Figures, kept: Figures) -> bool:
    """Whether it costs noticeably more. Where no price is known, calls are what is counted."""
    if now.cost_usd is None or kept.cost_usd is None:
        return now.calls > kept.calls
    return now.cost_usd > kept.cost_usd * _DEARER


def cost(figures: Figures) -> str:
    """What it cost, for a person."""
    if not figures.calls:
        return "–"
    return f"{figures.calls} unpriced calls" if figures.cost_usd is None else f"${figures.cost_usd:.5f}"


def _degraded(figures: Figures | Expected) -> str:
    return "degraded" if figures.degraded else "not degraded"


def _facts(figures: Figures) -> str:
    return f"{figures.facts - len(figures.missing)} of {figures.facts}"


def _supported(figures: Figures) -> str:
    return f"{figures.supported} of {figures.claims}"
