"""What those know who were there, and the log does not say."""

from datetime import datetime

from msgspec import Struct, field


class Answer(Struct, frozen=True):
    """What a coordinator told a person over the API; `code` is empty where the word was taken."""

    by: str
    verb: str
    run: str
    code: str
    winner: str
    asked_at: float
    answered_at: float
    unheard: bool
    """Whether the person had asked before, and has not heard what came of it."""
    until: datetime | None = None
    """Until when a hold was to be extended."""


class Journal(Struct):
    """What those know who were there, and the log does not say."""

    acknowledged: set[int] = field(default_factory=set)
    malformed: set[bytes] = field(default_factory=set)
    forged: set[bytes] = field(default_factory=set)
    """What somebody wrote to boxes that were full, without the guard."""
    answers: list[Answer] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)
