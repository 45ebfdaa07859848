"""The tools that find sources: one protocol, one small file each. How third parties add theirs is in `catalogue.py`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Protocol

from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field

from shared.contracts.evidence import Passage, Skipped


class Search(BaseModel):
    """What a tool is asked. A tool that takes less than this says so with a subclass; what does not fit its schema
    does not reach it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    query: Annotated[str, Field(min_length=1, max_length=2_000, description="What to look for, in words")]
    limit: Annotated[int, Field(ge=1, le=50, description="How many results at most")]


class Hit(Struct, frozen=True):
    """One document that a tool found. `text` is what is frozen; each passage is an excerpt of it, best first.

    Without passages, the best ones are chosen. The other fields are those of `Source`.
    """

    title: str
    location: str
    text: str
    passages: tuple[Passage, ...] = ()
    url: str = ""
    status: int | None = None
    fetched_at: datetime | None = None
    media_type: str = ""
    bytes_sha256: str = ""
    published: str | None = None
    language: str = ""
    stripped: tuple[str, ...] = ()


class Link(Struct, frozen=True):
    """A page that a tool found, not yet read. What the tool says of it is no evidence, so it is not kept."""

    url: str
    title: str = ""


Answer = Sequence[Hit | Link | Skipped]
"""What a tool found, best first, and what it had to pass over."""


class Tool(Protocol):
    """Anything that finds documents, or links to pages. Raises the `StepError`s of `shared.errors` and nothing else."""

    @property
    def name(self) -> str:
        """What a request calls it in `tools`."""
        ...

    @property
    def arguments(self) -> type[Search]:
        """What it can be asked; `arguments.model_json_schema()` is its schema for others."""
        ...

    async def search(self, search: Search) -> Answer:
        """At most `search.limit` results, best first; nothing where nothing fits."""
        ...
