"""The tool `tavily`: a web search service with a key. Only its links are used; the pages are read here."""

from typing import Annotated

from msgspec import Struct
from pydantic import Field

from services.fetcher.findings.tool import Answer, Link, Search
from services.fetcher.tools.catalogue import Misconfigured
from services.fetcher.tools.endpoint import Endpoint
from services.fetcher.web.user_agent import user_agent
from shared.errors import Terminal
from shared.runtime.settings import Settings


class _Result(Struct, frozen=True):
    url: str = ""
    title: str = ""


class _Answer(Struct, frozen=True):
    results: list[_Result] = []


class TavilySearch(Search):
    """As Tavily takes it."""

    query: Annotated[str, Field(min_length=1, max_length=400, description="What to look for, in words")]
    limit: Annotated[int, Field(ge=1, le=20, description="How many results at most")]


class Tavily:
    """Finds links. The key is sent in a header only."""

    name = "tavily"
    arguments = TavilySearch

    def __init__(self, url: str, key: str, *, agent: str) -> None:
        self._api = Endpoint(
            self.name, f"{url.rstrip('/')}/search", agent=agent, headers={"Authorization": f"Bearer {key}"}
        )

    async def close(self) -> None:
        """Close its connections."""
        await self._api.close()

    async def search(self, search: Search) -> Answer:
        """Return the links that it found, best first. Raises the faults of `Endpoint`."""
        try:
            answer = await self._api.post({"query": search.query, "max_results": search.limit}, _Answer)
        except Terminal as error:
            raise _with_advice(error) from error
        return [Link(result.url, result.title) for result in answer.results if result.url]


def _with_advice(error: Terminal) -> Terminal:
    """Return the fault with advice on the key or the quota; other faults unchanged."""
    match error.code:
        case "tavily_refused":
            return Terminal(error.code, "Tavily does not accept the key in DOSSIER_TAVILY_KEY.")
        case "tavily_432" | "tavily_433":
            return Terminal("tavily_quota", "Tavily's plan for this key is used up.")
        case _:
            return error


def make(settings: Settings) -> Tavily:
    """Return the tool with the operator's key. Raises `Misconfigured` without one."""
    if settings.tavily_key is None:
        raise Misconfigured("DOSSIER_TOOLS has tavily: set DOSSIER_TAVILY_KEY to its key.")
    return Tavily(settings.tavily_url, settings.tavily_key.get_secret_value(), agent=user_agent(settings.contact))
