"""Sizes of prompts and replies within a model's context. Pure."""

from dataclasses import dataclass
from typing import Final, Literal

from shared.contracts.tokens import BYTES_PER_TOKEN

Agent = Literal["planner", "writer", "judge"]

UNKNOWN_CONTEXT: Final = 16_384
"""Tokens that are assumed for prompt and reply together if nothing is known of a model."""
MOST_CONTEXT: Final = 1_000_000
"""Tokens that leave room for everything."""
_REPLY: Final[dict[Agent, int]] = {"planner": 2_000, "writer": 6_000, "judge": 4_000}
"""Tokens that a reply may have; of the planner's, a tenth is queries, the rest is for models that think first."""
_REPLYS_SHARE: Final = 4
"""A reply takes at most a quarter of a small context."""


@dataclass(frozen=True)
class ContextWindow:
    """Limits of one call: bytes of the prompt, including the schema of the reply, and tokens of the reply."""

    prompt: int
    reply: int


def window_of(agent: Agent, context: int = UNKNOWN_CONTEXT) -> ContextWindow:
    """Return the limits of an agent whose prompt and reply share `context` tokens."""
    reply = min(_REPLY[agent], context // _REPLYS_SHARE)
    return ContextWindow((context - reply) * BYTES_PER_TOKEN, reply)
