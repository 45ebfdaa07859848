"""Estimates of a text's tokens without a tokenizer. An estimate is an upper bound, so that a limit holds for any model.
Pure.
"""

from dataclasses import dataclass
from typing import Final

BYTES_PER_TOKEN: Final = 3
"""Of UTF-8. English prose has above four, code and most other writing three; so this errs on the long side."""


@dataclass(frozen=True)
class Tokens:
    """Tokens of one call. `cached` counts those of `input` that the provider had cached."""

    input: int
    output: int
    cached: int = 0


def estimate_tokens(text: str) -> int:
    """Return an upper estimate of the tokens of `text`: its UTF-8 bytes by `BYTES_PER_TOKEN`, rounded up."""
    return -(-len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN)


MAX_PASSAGE_BYTES: Final = 60_000
"""Bytes of passages that a prompt holds at most, however much room there is: some 15,000 tokens."""
