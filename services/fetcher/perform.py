"""The fetching step: search with the tools, read the pages that they link, freeze the texts, and
describe their origin.
"""

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, zip_longest
from typing import Final, Protocol

import msgspec
from pydantic import ValidationError

from services.fetcher.documents.index import quote_documents
from services.fetcher.documents.text import Document
from services.fetcher.findings import dedup, sources
from services.fetcher.findings.sources import MAX_SOURCES, CleanHit
from services.fetcher.findings.tool import Answer, Hit, Link, Search, Tool
from shared.contracts.evidence import Failure, Passage, Skipped, Source
from shared.contracts.facts import FetchFailed, FetchFound
from shared.contracts.tasks import FetchTask
from shared.errors import StepError, Terminal, Throttled, Transient
from shared.runtime.log import Evidence

logger = logging.getLogger(__name__)

_OVERSAMPLING: Final = 2
"""Factor by which a tool is asked for more results than are wanted: some pages are unreadable, some are duplicates."""

_MAX_MESSAGE: Final = 2_000
_MAX_LOCATION: Final = 200


class Reader(Protocol):
    """Reads pages; implemented by `web/pages.py`."""

    async def read(self, location: str) -> Hit:
        """Return the page at this URL. Raises `StepError`."""
        ...


class _Candidate(msgspec.Struct, frozen=True):
    tool: str
    item: Hit | Link


class _Progress:
    """Results of a fetch so far: documents, skipped places, and the faults that were behind them."""

    def __init__(self) -> None:
        self.found: list[CleanHit] = []
        self.skipped: list[Skipped] = []
        self.faults: list[StepError] = []

    def skip(self, location: str, fault: StepError) -> None:
        """Record that `location` was skipped because of `fault`."""
        self.faults.append(fault)
        self.skipped.append(Skipped(location, Failure(fault.code, fault.message)))


class Fetcher:
    """Finds up to `sources` sources for a sub-query with the operator's `tools` by name.

    Links are read by `pages`; without it they are skipped, and nothing here uses the network.
    """

    def __init__(
        self, tools: Mapping[str, Tool], evidence: Evidence, *, sources: int = 5, pages: Reader | None = None
    ) -> None:
        """Raise `ValueError` if `sources` is not between 1 and `MAX_SOURCES`."""
        if not 1 <= sources <= MAX_SOURCES:
            raise ValueError(f"sources is {sources}; a finding has 1 to {MAX_SOURCES}.")
        self._tools = tools
        self._evidence = evidence
        self._sources = sources
        self._pages = pages

    async def perform(self, task: FetchTask) -> FetchFound | FetchFailed:
        """Search, and return the best results of each tool in turn, each text once, with their text frozen.

        A failing tool or page is skipped and listed as such. If nothing is found, the first fault that may be temporary
        is raised, so that the step is retried; else `FetchFailed` is returned. Raises `Terminal` for a tool that is not
        configured.
        """
        tools = self._requested(task)
        gathered = _Progress()
        candidates = _interleave(await self._search(task.query, tools, gathered))
        while wave := list(islice(candidates, self._sources - len(gathered.found))):
            await self._collect(wave, gathered)
        if not gathered.found:
            return _failed(task.query, tools, gathered)
        return FetchFound(
            query=task.query,
            sources=await self._freeze(task.query, gathered.found),
            skipped=sources.limit_skipped(gathered.skipped),
        )

    def _requested(self, task: FetchTask) -> Mapping[str, Tool]:
        """Return the tools that the task names, all of them if it names none. Raise `Terminal` (`tool_unknown`) for
        others.
        """
        unknown = [name for name in task.tools if name not in self._tools]
        if unknown:
            raise Terminal(
                "tool_unknown",
                f"Unknown tool {' or '.join(unknown)}; available: {', '.join(self._tools) or 'none'}.",
            )
        return {name: self._tools[name] for name in task.tools or self._tools}

    async def _search(self, query: str, tools: Mapping[str, Tool], gathered: _Progress) -> dict[str, Answer]:
        """Search with all tools at once. Return the results by tool; failed tools are logged and
        recorded as skipped.
        """
        asked = (_search_tool(tool, query, self._sources * _OVERSAMPLING) for tool in tools.values())
        answers: dict[str, Answer] = {}
        for name, answer in zip(tools, await asyncio.gather(*asked), strict=True):
            if isinstance(answer, StepError):
                logger.warning("%s failed: %s", name, answer, extra={"event": "tool.failed"})
                gathered.skip(name, answer)
            else:
                gathered.skipped += [item for item in answer if isinstance(item, Skipped)]
                answers[name] = answer
        return answers

    async def _collect(self, wave: Sequence[_Candidate], gathered: _Progress) -> None:
        """Read these candidates and add them to the results; duplicates are folded, faults recorded as skipped."""
        for candidate, new in zip(wave, await asyncio.gather(*map(self._read_candidate, wave)), strict=True):
            if isinstance(new, StepError):
                gathered.skip(_location(candidate.item), new)
            elif new:
                gathered.found = sources.fold_duplicate(gathered.found, new)

    async def _read_candidate(self, candidate: _Candidate) -> CleanHit | StepError | None:
        """Read and clean one candidate. Return it, the fault, or `None` if no visible text is left. Never raises."""
        try:
            hit = candidate.item if isinstance(candidate.item, Hit) else await self._read(candidate.item)
            return await asyncio.to_thread(sources.clean_hit, candidate.tool, hit)
        except StepError as fault:
            return fault
        except Exception:
            place = _location(candidate.item)[:_MAX_LOCATION]
            logger.exception("Reading %s failed with an unexpected error.", place, extra={"event": "page.defect"})
            return Terminal(
                "unreadable",
                f"{place} could not be read because of an unexpected error; the log of the fetcher has the details.",
            )

    async def _read(self, link: Link) -> Hit:
        """Read a linked page. Raises `StepError`; `Terminal` (`no_pages`) without a page reader."""
        if self._pages is None:
            raise Terminal("no_pages", f"{link.url} was found, but this fetcher reads no pages.")
        return await self._pages.read(link.url)

    async def _freeze(self, query: str, found: Sequence[CleanHit]) -> tuple[Source, ...]:
        """Store the texts and return the sources with the passages that answer the query best."""
        hashes = await asyncio.gather(*(self._evidence.put(each.hit.text) for each in found))
        passages, origins = await asyncio.to_thread(_passages_and_origins, query, found)
        return tuple(
            sources.build_source(each, sha256=sha256, origin=origin, passages=best)
            for each, sha256, origin, best in zip(found, hashes, origins, passages, strict=True)
        )


async def _search_tool(tool: Tool, query: str, limit: int) -> Answer | StepError:
    """Search with one tool. Return its results or its fault; an unexpected error is logged and becomes `Transient`.
    Never raises.
    """
    try:
        return await tool.search(_validate(tool, query, limit))
    except StepError as fault:
        return fault
    except Exception:
        logger.exception("The tool %s failed with an unexpected error.", tool.name, extra={"event": "tool.defect"})
        text = f"The tool {tool.name} failed with an unexpected error; the log of the fetcher has the details."
        return Transient("tool_defect", text)


def _validate(tool: Tool, query: str, limit: int) -> Search:
    """Validate query and limit by the tool's schema. Raise `Terminal` (`tool_arguments`) naming the
    invalid argument.
    """
    try:
        return tool.arguments(query=query, limit=limit)
    except ValidationError as error:
        first = error.errors()[0]
        text = f"{tool.name} cannot be asked this: {'.'.join(map(str, first['loc']))}: {first['msg']}."
        raise Terminal("tool_arguments", text) from error


def _interleave(answers: Mapping[str, Answer]) -> Iterator[_Candidate]:
    """Yield the best result of each tool, then the second best of each, and so on; each text and each page once."""
    seen: set[str] = set()
    rounds = zip_longest(*([(name, item) for item in items] for name, items in answers.items()))
    for name, item in (each for each in chain.from_iterable(rounds) if each is not None):
        if isinstance(item, Skipped):
            continue
        key = item.text if isinstance(item, Hit) else _location(item).partition("#")[0]
        if key not in seen:
            seen.add(key)
            yield _Candidate(name, item)


def _location(item: Hit | Link) -> str:
    """Return the location of a document, or the URL of a link."""
    return item.location if isinstance(item, Hit) else item.url


def _passages_and_origins(query: str, found: Sequence[CleanHit]) -> tuple[list[tuple[Passage, ...]], list[str]]:
    """Return for each document its passages and the key of its origin, in order.

    Passages are those of the tool; without any, those that answer the query best.
    """
    to_quote = [each for each in found if not each.hit.passages]
    documents = [Document(each.hit.title, each.hit.location, each.hit.text) for each in to_quote]
    quoted = iter(quote_documents(documents, query) if documents else [])
    passages = [each.hit.passages or next(quoted) for each in found]
    return passages, dedup.origin_keys([each.shingles for each in found])


def _failed(query: str, tools: Iterable[str], gathered: _Progress) -> FetchFailed:
    """Return the failure of a fetch without results. Raise the first fault that is not `Terminal`, with the others'
    messages.
    """
    if passing := next((fault for fault in gathered.faults if not isinstance(fault, Terminal)), None):
        others = " ".join(fault.message for fault in gathered.faults if fault is not passing)
        raise _with_message(
            passing, f"{passing.message} Besides: {others}"[:_MAX_MESSAGE] if others else passing.message
        )
    error = _nothing_found(query, tools, gathered)
    return FetchFailed(query=query, error=error, skipped=sources.limit_skipped(gathered.skipped))


def _with_message(fault: StepError, message: str) -> StepError:
    """Return a fault of the same kind and code with another message."""
    if isinstance(fault, Throttled):
        return Throttled(fault.code, message, retry_after=fault.retry_after)
    return Transient(fault.code, message)


def _nothing_found(query: str, tools: Iterable[str], gathered: _Progress) -> Failure:
    """Return the reason why nothing was found: no result at all, the only fault, or the first of several."""
    if not gathered.faults:
        return Failure("nothing_found", f"Nothing was found for “{query}” with {', '.join(tools) or 'no tool'}.")
    first, count = gathered.faults[0], len(gathered.faults)
    if count == 1:
        return Failure(first.code, first.message)
    text = f"Nothing was found for “{query}”: all {count} attempts failed, the first with: {first.message}"
    return Failure("nothing_read", text)
