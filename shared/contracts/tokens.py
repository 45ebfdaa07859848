"""How many tokens a text has, said without a tokenizer: at most, so that a limit holds whoever counts. Pure."""

from dataclasses import dataclass
from typing import Final

BYTES_PER_TOKEN: Final = 3
"""Of UTF-8. English prose has above four, code and most other writing three; so this errs on the long side."""


@dataclass(frozen=True)
class Tokens:
    """Tokens of one call. `cached` are those of the `input` that the provider had read before."""

    input: int
    output: int
    cached: int = 0


def estimate_tokens(text: str) -> int:
    """About how many tokens `text` has at most."""
    return -(-len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN)


MAX_PASSAGE_BYTES: Final = 60_000
"""Bytes of passages that a prompt holds at most, however much room there is: some 15,000 tokens."""
