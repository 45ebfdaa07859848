"""The protocol of search tools. `tools/catalogue.py` describes how third parties add theirs."""

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
    """A document that a tool found. `text` is frozen; each passage is an excerpt of it, best first.

    Without passages, the best ones are selected. The other fields are those of `Source`.
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
    """A page that a tool found and that is still to be read. The tool's description of it is no evidence and is not
    kept.
    """

    url: str
    title: str = ""


Answer = Sequence[Hit | Link | Skipped]
"""Results of a tool, best first, and the places that it skipped."""


class Tool(Protocol):
    """A search for documents or links to pages. Raises only the `StepError`s of `shared.errors`."""

    @property
    def name(self) -> str:
        """Name by which a request selects it in `tools`."""
        ...

    @property
    def arguments(self) -> type[Search]:
        """Schema of its arguments, a subclass of `Search` if it takes less."""
        ...

    async def search(self, search: Search) -> Answer:
        """Return at most `search.limit` results, best first; empty if nothing matches."""
        ...
