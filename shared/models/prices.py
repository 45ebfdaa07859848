"""Prices of tokens from the table of `genai-prices`, which is part of the lock; nothing is fetched.

A model that is not in the table has no price. Prices of other endpoints have to be set.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final

from shared.contracts.tokens import Tokens

OPENAI_URL: Final = "https://api.openai.com/v1"
OPENAI: Final = "openai"
"""The provider's name in the price table."""


@dataclass(frozen=True)
class Tariff:
    """The price of one model: `given` in US dollars per million input and output tokens, else the list price.

    Without either (no `provider`, or one that does not list the model), the price is unknown.
    """

    model: str
    provider: str = ""
    given: tuple[float, float] | None = None

    def cost(self, tokens: Tokens, at: datetime) -> float | None:
        """Return the US dollars of these tokens at that time, or `None`, never 0, if no price is known."""
        if self.given:
            into, out = self.given
            return round((tokens.input * into + tokens.output * out) / 1e6, 9)
        if not self.provider:
            return None
        return _list_price(self.model, self.provider, tokens, at.replace(second=0, microsecond=0))


def is_official(base_url: str | None) -> bool:
    """Return True if the base URL is OpenAI's own or unset."""
    return not base_url or base_url.rstrip("/") == OPENAI_URL


@lru_cache(maxsize=1_024)
def _list_price(model: str, provider: str, tokens: Tokens, at: datetime) -> float | None:
    """Return the list price in US dollars, or `None`. Cached: one lookup takes 0.1 ms, and each hold needs six."""
    # Read only where a price is wanted: the table takes most of a second to load.
    from genai_prices import Usage, calc_price

    usage = Usage(input_tokens=tokens.input, output_tokens=tokens.output, cache_read_tokens=tokens.cached)
    try:
        found = calc_price(usage, model, provider_id=provider, genai_request_timestamp=at)
    except (LookupError, ValueError):
        return None
    return round(float(found.total_price), 9)


def listed_context(model: str, provider: str, at: datetime) -> int | None:
    """Return the context window of a model in tokens after the table, or `None` if it is not listed."""
    from genai_prices import Usage, calc_price

    try:
        found = calc_price(Usage(input_tokens=1), model, provider_id=provider, genai_request_timestamp=at)
    except (LookupError, ValueError):
        return None
    return found.model.context_window
