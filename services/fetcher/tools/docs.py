"""The tool `docs`: full-text search over a folder of documents, or over Python's language reference."""

import asyncio
from pathlib import Path

from services.fetcher.documents.corpus import Folder
from services.fetcher.documents.index import Index
from services.fetcher.documents.language_reference import LanguageReference
from services.fetcher.findings.tool import Hit, Search
from shared.runtime.settings import Settings


class Docs:
    """Searches `folder` (.md, .rst, .txt and .html files); the language reference of this Python if it is `None`.

    Uses no network. The index is kept in the folder `cache` and follows every change of the documents. A missing or
    empty folder fails each search with `Terminal`, so that the hold reports it.
    """

    def __init__(self, folder: Path | None, cache: Path) -> None:
        self._index = Index(LanguageReference() if folder is None else Folder(folder), cache)
        self._turn = asyncio.Lock()

    @property
    def name(self) -> str:
        """`docs`."""
        return "docs"

    @property
    def arguments(self) -> type[Search]:
        """A query and a limit."""
        return Search

    async def search(self, search: Search) -> list[Hit]:
        """Return the documents that answer the query, best first, each with up to three passages; empty if there are
        none.

        One search runs at a time, in a thread: the first one may have to build the index. Raises `Terminal` and
        `Transient`.
        """
        async with self._turn:
            return await asyncio.to_thread(self._index.search, search.query, limit=search.limit)


def make(settings: Settings) -> Docs:
    """Return the tool over the operator's folder, else over the language reference."""
    return Docs(settings.docs, settings.data / "cache")
