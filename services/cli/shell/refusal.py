"""The error that ends a command."""

from typing import Final

from shared.errors import DossierError

FAILED: Final = 1
MISUSED: Final = 2


class Refusal(DossierError):
    """Ends a command with a sentence on standard error, and this exit code."""

    def __init__(self, sentence: str, *, code: int = FAILED) -> None:
        super().__init__(sentence)
        self.code = code
