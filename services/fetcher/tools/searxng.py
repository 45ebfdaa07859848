"""The tool `searxng`: web search by the operator's own SearXNG."""

from typing import Final

from msgspec import Struct

from services.fetcher.findings.tool import Answer, Link, Search
from services.fetcher.tools.catalogue import Misconfigured
from services.fetcher.tools.endpoint import Endpoint
from services.fetcher.web.user_agent import user_agent
from shared.contracts.evidence import Failure, Skipped
from shared.errors import Terminal, Transient
from shared.runtime.settings import Settings

_MOST_ENGINES: Final = 10


class _Result(Struct, frozen=True):
    url: str = ""
    title: str = ""


class _Page(Struct, frozen=True):
    results: list[_Result] = []
    unresponsive_engines: list[tuple[str, str]] = []


class Searxng:
    """Finds links. Engines that did not answer SearXNG are reported as skipped."""

    name = "searxng"
    arguments = Search

    def __init__(self, url: str, *, agent: str) -> None:
        self._api = Endpoint(self.name, f"{url.rstrip('/')}/search", agent=agent)

    async def close(self) -> None:
        """Close its connections."""
        await self._api.close()

    async def search(self, search: Search) -> Answer:
        """Return the links that its engines found, best first, and the silent engines.

        Raises `Transient` if there are only silent engines, and the faults of `Endpoint`.
        """
        try:
            page = await self._api.get({"q": search.query, "format": "json"}, _Page)
        except Terminal as error:
            raise _with_advice(error) from error
        silent = page.unresponsive_engines[:_MOST_ENGINES]
        links = [Link(result.url, result.title) for result in page.results if result.url]
        if silent and not links:
            names = ", ".join(f"{engine[:40]} ({reason[:60]})" for engine, reason in silent)
            raise Transient("searxng_engines", f"SearXNG's engines did not answer it: {names}.")
        return [*links[: search.limit], *(_skipped_engine(engine[:40], reason[:60]) for engine, reason in silent)]


def _skipped_engine(engine: str, reason: str) -> Skipped:
    """Return the entry for an engine that did not answer."""
    return Skipped(f"searxng: {engine}", Failure("searxng_engine", f"{engine} did not answer SearXNG: {reason}."))


def _with_advice(error: Terminal) -> Terminal:
    """Return the fault with advice if SearXNG refused JSON; other faults unchanged."""
    if error.code != "searxng_refused":
        return error
    return Terminal(
        "searxng_refused",
        "SearXNG does not answer in JSON: add json to search.formats in its settings.yml, or exempt Dossier from "
        "its limiter.",
    )


def make(settings: Settings) -> Searxng:
    """Return the tool for the operator's SearXNG. Raises `Misconfigured` without its URL."""
    if not settings.searxng_url:
        raise Misconfigured("DOSSIER_TOOLS has searxng: set DOSSIER_SEARXNG_URL to the URL of yours.")
    return Searxng(settings.searxng_url, agent=user_agent(settings.contact))
