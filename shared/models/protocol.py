"""What a service may ask of a language model, and what it gets.

An `Ask` carries both ways to its answer: the prompt, for a model, and `by_rule`, the
deterministic answer that needs none. So every model can always answer, and whoever
asks never has to know which one did.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from pydantic import BaseModel

from shared.contracts.evidence import Call, Usage

Reply = TypeVar("Reply", bound=BaseModel)


@dataclass(frozen=True)
class Ask(Generic[Reply]):
    """One question to a model. `reply` is the form of the answer, as a JSON schema to the model and a check on it.

    `by_rule` returns the same form without a model. `max_tokens` bounds what the model may write, `budget_usd` what
    all calls for the answer may cost together. `agent` and `prompt` (a version) say who asks in which words.
    """

    system: str
    user: str
    reply: type[Reply]
    by_rule: Callable[[], Reply]
    max_tokens: int
    agent: str = ""
    prompt: str = ""
    budget_usd: float | None = None
    hear: Callable[[str], None] | None = None
    """Told of the reply as it comes, all of it so far each time, as the model writes it and unchecked."""
    shorter: "Callable[[], Ask[Reply]] | None" = None
    """The same question in fewer words, for a model that has no room for this many; `None` where there is none."""


@dataclass(frozen=True)
class Answer(Generic[Reply]):
    """An answer and who gave it. `degraded` says why a model's own words were not used; `None` where they were.

    `calls` are all that were made for it, and `usage` is their sum.
    """

    value: Reply
    model: str
    usage: Usage
    degraded: str | None = None
    calls: tuple[Call, ...] = ()


class Model(Protocol):
    """Whatever answers an `Ask`. Raises the `StepError`s of `shared.errors`, with the calls made, and nothing else."""

    async def answer(self, ask: Ask[Reply]) -> Answer[Reply]:
        """Answer `ask`."""
        ...

    async def aclose(self) -> None:
        """Let go of connections."""
        ...
