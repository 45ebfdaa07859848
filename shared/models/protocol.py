"""The interface of language models.

An `Ask` has two ways to its answer: the prompt, for a model, and `by_rule`, a deterministic function. So every model
can answer, and callers need not know which one did.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from pydantic import BaseModel

from shared.contracts.evidence import Call, Usage

Reply = TypeVar("Reply", bound=BaseModel)


@dataclass(frozen=True)
class Ask(Generic[Reply]):
    """One question to a model. `reply` is the type of the answer: a JSON schema for the model and a check of its reply.

    `by_rule` returns the same type without a model. `max_tokens` limits the reply, `budget_usd` the cost of all calls
    for the answer. `agent` and `prompt` (a version) are recorded with each call.
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
    """Called with the whole reply so far, unchecked, each time that the model writes more."""
    shorter: "Callable[[], Ask[Reply]] | None" = None
    """The same question in fewer words, for a model that has no room for this many; `None` where there is none."""


@dataclass(frozen=True)
class Answer(Generic[Reply]):
    """An answer and its author. `degraded` is the reason why no model's reply was used, `None` if one was.

    `calls` are all calls made for it; `usage` is their sum.
    """

    value: Reply
    model: str
    usage: Usage
    degraded: str | None = None
    calls: tuple[Call, ...] = ()


class Model(Protocol):
    """Answers an `Ask`. Raises only `StepError`s, which carry the calls made."""

    async def answer(self, ask: Ask[Reply]) -> Answer[Reply]:
        """Answer `ask`."""
        ...

    async def aclose(self) -> None:
        """Close connections."""
