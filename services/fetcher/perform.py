"""One fetch: ask the tools, freeze what they found, and say where it came from."""

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, zip_longest
from typing import Final

from services.fetcher.tools import Hit, Tool
from shared.contracts.evidence import Passage, Source
from shared.contracts.facts import FetchFound
from shared.contracts.tasks import FetchTask
from shared.errors import Terminal
from shared.runtime.log import Evidence

logger = logging.getLogger(__name__)

MAX_SOURCES: Final = 8
_MAX_TITLE: Final = 300
_MAX_LOCATION: Final = 1_000
_MAX_PASSAGES: Final = 5
_MAX_CHARS: Final = 2_400
"""Of all passages of a source. So a finding fits in a message even if JSON should escape every character of it."""


class Fetcher:
    """Finds sources for one sub-query at a time, with the operator's `tools` by name, at most `sources` of them."""

    def __init__(self, tools: Mapping[str, Tool], evidence: Evidence, *, sources: int = 5) -> None:
        if not 1 <= sources <= MAX_SOURCES:
            raise ValueError(f"sources is {sources}; a finding has 1 to {MAX_SOURCES}.")
        self._tools = tools
        self._evidence = evidence
        self._sources = sources

    async def perform(self, task: FetchTask) -> FetchFound:
        """What the task's tools find, frozen: the best of each tool in turn, each text once.

        A tool that fails does not lose what the others found. Raises `Terminal` where nothing
        is found, and what the tools raise where all that did not fail found nothing.
        """
        tools = self._asked(task)
        answers = await asyncio.gather(
            *(tool.search(task.query, limit=self._sources) for tool in tools.values()), return_exceptions=True
        )
        found = {name: answer for name, answer in zip(tools, answers, strict=True) if isinstance(answer, list)}
        failed = {
            name: answer for name, answer in zip(tools, answers, strict=True) if isinstance(answer, BaseException)
        }
        chosen = list(islice(_in_turn(found), self._sources))
        if not chosen:
            raise _worst(failed.values()) or _nothing(task.query, tools)
        for name, fault in failed.items():
            logger.warning("%s failed, others did not: %s", name, fault)
        hashes = await asyncio.gather(*(self._evidence.put(hit.text) for _, hit in chosen))
        return FetchFound(
            query=task.query,
            sources=tuple(_source(sha256, name, hit) for sha256, (name, hit) in zip(hashes, chosen, strict=True)),
        )

    def _asked(self, task: FetchTask) -> Mapping[str, Tool]:
        unknown = [name for name in task.tools if name not in self._tools]
        if unknown:
            raise Terminal(
                "tool_unknown",
                f"There is no tool {' or '.join(unknown)} here; what there is: {', '.join(self._tools) or 'none'}.",
            )
        return {name: self._tools[name] for name in task.tools or self._tools}


def _in_turn(found: Mapping[str, Sequence[Hit]]) -> Iterator[tuple[str, Hit]]:
    """The best hit of each tool, then the second best of each, and so on; each text once."""
    seen: set[str] = set()
    rounds = zip_longest(*([(name, hit) for hit in hits] for name, hits in found.items()))
    for name, hit in (each for each in chain.from_iterable(rounds) if each is not None):
        if hit.text not in seen:
            seen.add(hit.text)
            yield name, hit


def _worst(faults: Iterable[BaseException]) -> BaseException | None:
    """The first fault that may go away by itself, else the first; `None` where there is none."""
    ordered = sorted(faults, key=lambda fault: isinstance(fault, Terminal))
    return ordered[0] if ordered else None


def _nothing(query: str, tools: Iterable[str]) -> Terminal:
    return Terminal("nothing_found", f"Nothing was found for “{query}” with {', '.join(tools) or 'no tool'}.")


def _source(sha256: str, tool: str, hit: Hit) -> Source:
    return Source(
        sha256=sha256,
        title=_cut(hit.title, _MAX_TITLE),
        location=_cut(hit.location, _MAX_LOCATION),
        tool=tool,
        passages=tuple(_fitting(hit.passages)),
    )


def _fitting(passages: Iterable[Passage]) -> Iterator[Passage]:
    """The first passages, the last of them cut short where there is no room for more."""
    room = _MAX_CHARS
    for passage in islice(passages, _MAX_PASSAGES):
        if room:
            text = passage.text[:room]
            room -= len(text)
            yield Passage(text, passage.start)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
