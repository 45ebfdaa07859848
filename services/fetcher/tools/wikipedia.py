"""The tool `wikipedia`: articles of a Wikipedia or of any MediaWiki. Needs no key."""

from typing import Annotated, Final

from msgspec import Struct
from pydantic import Field

from services.fetcher.findings.tool import Answer, Link, Search
from services.fetcher.tools.endpoint import Endpoint
from services.fetcher.web.user_agent import user_agent
from shared.errors import StepError, Terminal, Throttled, Transient
from shared.runtime.settings import Settings

_MOST: Final = 20
_BUSY_S: Final = 5.0


class _Article(Struct, frozen=True):
    title: str = ""
    fullurl: str = ""
    index: int = 0


class _Query(Struct, frozen=True):
    pages: list[_Article] = []


class _Fault(Struct, frozen=True):
    code: str = ""


class _Answer(Struct, frozen=True):
    query: _Query = _Query()
    error: _Fault | None = None


class WikipediaSearch(Search):
    """As MediaWiki takes it."""

    query: Annotated[str, Field(min_length=1, max_length=300, description="Words, or MediaWiki's own search syntax")]


class Wikipedia:
    """Finds links to articles."""

    name = "wikipedia"
    arguments = WikipediaSearch

    def __init__(self, api: str, *, agent: str) -> None:
        self._api = Endpoint(self.name, api, agent=agent)

    async def close(self) -> None:
        """Close its connections."""
        await self._api.close()

    async def search(self, search: Search) -> Answer:
        """Return links to the articles that its search finds, best first. Raises `StepError`."""
        answer = await self._api.get(_parameters(search), _Answer)
        if answer.error:
            raise _fault(answer.error.code[:40])
        ordered = sorted(answer.query.pages, key=lambda article: article.index)
        return [Link(article.fullurl, article.title) for article in ordered if article.fullurl]


def _parameters(search: Search) -> dict[str, str]:
    """Return the parameters of MediaWiki's API for a search."""
    return {
        "action": "query",
        "format": "json",
        "formatversion": "2",
        "generator": "search",
        "gsrsearch": search.query,
        "gsrlimit": str(min(search.limit, _MOST)),
        "prop": "info",
        "inprop": "url",
        "maxlag": "5",
    }


def _fault(code: str) -> StepError:
    """Return the fault for an error code of the API, which it sends with status 200."""
    if code in {"ratelimited", "maxlag"}:
        return Throttled("wikipedia_throttled", f"Wikipedia asks to wait ({code}).", retry_after=_BUSY_S)
    if code.startswith("internal_api_error"):
        return Transient("wikipedia_server", f"Wikipedia could not answer ({code}).")
    return Terminal("wikipedia_refused", f"Wikipedia would not answer ({code}).")


def make(settings: Settings) -> Wikipedia:
    """Return the tool for the MediaWiki that the operator chose."""
    return Wikipedia(settings.wikipedia_url, agent=user_agent(settings.contact))
