"""The tool `docs`: full-text search over a folder of documents, or over Python's language reference."""

import asyncio
from pathlib import Path

from services.fetcher.documents.corpus import Folder
from services.fetcher.documents.index import Index
from services.fetcher.documents.language_reference import LanguageReference
from services.fetcher.findings.tool import Hit, Search
from shared.runtime.settings import Settings


class Docs:
    """Searches `folder` (.md, .rst, .txt and .html files), or what this Python says of itself where it is `None`.

    Nothing leaves the machine. The index is kept in the folder `cache` and follows every change
    of the documents. A folder that is missing or empty fails each search with `Terminal`, so that
    the hold names it, and not the service.
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
        """The documents that answer the query, best first, each with up to three passages; empty where none does.

        One search at a time, in a thread: the first one may have to build the index for all.
        """
        async with self._turn:
            return await asyncio.to_thread(self._index.search, search.query, limit=search.limit)


def make(settings: Settings) -> Docs:
    """The tool over the operator's folder."""
    return Docs(settings.docs, settings.data / "cache")
