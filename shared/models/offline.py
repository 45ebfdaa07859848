"""The model that needs no network and no key: every answer is the one by rule."""

from typing import Final

from shared.contracts.evidence import Usage
from shared.models.protocol import Answer, Ask, Reply

OFFLINE: Final = "offline"
"""The author of answers by rule, whichever model was asked."""


class OfflineModel:
    """Answers every `Ask` by rule, at no cost and deterministically."""

    async def answer(self, ask: Ask[Reply]) -> Answer[Reply]:
        """Return the answer by rule, not marked as degraded."""
        return Answer(ask.by_rule(), OFFLINE, Usage())

    async def aclose(self) -> None:
        """Do nothing."""
