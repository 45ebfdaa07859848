"""The tools that find sources: one protocol, one small file each."""

from typing import Protocol

from msgspec import Struct

from shared.contracts.evidence import Passage


class Hit(Struct, frozen=True):
    """One document that a tool found. `text` is what is frozen; each passage is an excerpt of it, best first."""

    title: str
    location: str
    text: str
    passages: tuple[Passage, ...]


class Tool(Protocol):
    """Anything that finds documents for a query. Raises the `StepError`s of `shared.errors` and nothing else."""

    @property
    def name(self) -> str:
        """What a request calls it in `tools`."""
        ...

    async def search(self, query: str, *, limit: int) -> list[Hit]:
        """At most `limit` documents, best first; an empty list where nothing fits."""
        ...
