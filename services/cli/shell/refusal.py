"""The one way in which a command says no."""

from typing import Final

from shared.errors import DossierError

FAILED: Final = 1
MISUSED: Final = 2


class Refusal(DossierError):
    """Ends a command: a sentence for a person, and the exit code."""

    def __init__(self, sentence: str, *, code: int = FAILED) -> None:
        super().__init__(sentence)
        self.code = code
