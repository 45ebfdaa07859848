"""The model that needs no network, no key and no model: every answer is the one by rule."""

from typing import Final

from shared.contracts.evidence import Usage
from shared.models.protocol import Answer, Ask, Reply

OFFLINE: Final = "offline"
"""Who wrote what was made by rule, whichever model was asked."""


class OfflineModel:
    """Answers every `Ask` by rule, at no cost, and the same way every time."""

    async def answer(self, ask: Ask[Reply]) -> Answer[Reply]:
        """The answer by rule. Not degraded: nothing better was asked for."""
        return Answer(ask.by_rule(), OFFLINE, Usage())

    async def aclose(self) -> None:
        """There is nothing to let go of."""
