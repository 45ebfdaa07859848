"""The tool `arxiv`: titles and abstracts of papers from arXiv's API. Needs no key."""

import asyncio
from collections.abc import Iterator
from typing import Annotated, Final
from xml.etree import ElementTree

from aiolimiter import AsyncLimiter
from pydantic import Field

from services.fetcher.findings.query import query_terms
from services.fetcher.findings.tool import Hit, Search
from services.fetcher.tools.endpoint import Endpoint
from services.fetcher.web.user_agent import user_agent
from shared.errors import Transient
from shared.runtime import clock
from shared.runtime.settings import Settings

_ATOM: Final = "{http://www.w3.org/2005/Atom}"
_PAUSE_S: Final = 3.0
"""Seconds between requests, as arXiv's terms of use demand."""


class ArxivSearch(Search):
    """As arXiv takes it."""

    query: Annotated[str, Field(min_length=1, max_length=500, description="What papers are about, in words")]


class Arxiv:
    """Finds abstracts; each is a document, located at the page of its paper. One request at a time, `pause_s` apart."""

    name = "arxiv"
    arguments = ArxivSearch

    def __init__(self, url: str, *, agent: str, pause_s: float = _PAUSE_S) -> None:
        self._api = Endpoint(self.name, url, agent=agent)
        self._turn = asyncio.Lock()
        self._limiter = AsyncLimiter(1, pause_s)

    async def close(self) -> None:
        """Close its connections."""
        await self._api.close()

    async def search(self, search: Search) -> list[Hit]:
        """Return the papers that have all words of the query in title, abstract or authors, best first. Raises
        `StepError`.
        """
        wanted = " AND ".join(f'all:"{term}"' for term in query_terms(search.query))
        parameters = {"search_query": wanted, "max_results": str(search.limit), "sortBy": "relevance"}
        async with self._turn:
            await self._limiter.acquire()
            data = await self._api.fetch("GET", params=parameters)
        try:
            # Expat refuses entities that grow, and external ones are not looked up.
            feed = ElementTree.fromstring(data)  # noqa: S314
        except ElementTree.ParseError as error:
            raise Transient("arxiv_answer", "arXiv's answer is not an Atom feed.") from error
        return list(_papers(feed))


def _papers(feed: ElementTree.Element) -> Iterator[Hit]:
    """Yield a document for each entry that has an abstract and a page."""
    for entry in feed.iterfind(f"{_ATOM}entry"):
        title, abstract, where = (_words(entry, name) for name in ("title", "summary", "id"))
        if abstract and "/abs/" in where:
            authors = ", ".join(_words(author, "name") for author in entry.iterfind(f"{_ATOM}author"))
            text = "\n\n".join(part for part in (title, authors, abstract) if part)
            published = _words(entry, "published")[:10] or None
            yield Hit(
                title, where, text, url=where, fetched_at=clock.now(), media_type="text/plain", published=published
            )


def _words(element: ElementTree.Element, name: str) -> str:
    """Return the text of a child element on one line; empty if it is absent."""
    return " ".join((element.findtext(f"{_ATOM}{name}") or "").split())


def make(settings: Settings) -> Arxiv:
    """Return the tool for arXiv or the URL that the operator set instead."""
    return Arxiv(settings.arxiv_url, agent=user_agent(settings.contact))
