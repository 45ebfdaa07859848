"""A fetch: ask the tools, freeze what they found, say where it came from, fail honestly."""

import asyncio
from collections.abc import Sequence
from hashlib import sha256

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.fetcher.perform import MAX_SOURCES, Fetcher
from services.fetcher.tools import Hit
from shared.contracts.envelope import MAX_BYTES
from shared.contracts.evidence import Passage
from shared.contracts.facts import FetchFound
from shared.contracts.tasks import FetchTask
from shared.errors import StepError, Terminal, Throttled, Transient


class Shelf:
    """Evidence in memory."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    async def put(self, text: str) -> str:
        key = sha256(text.encode()).hexdigest()
        self.texts[key] = text
        return key

    async def get(self, sha256: str) -> str | None:
        return self.texts.get(sha256)


class Canned:
    """A tool that knows its answer."""

    def __init__(self, name: str, answer: Sequence[Hit] | Exception) -> None:
        self.name = name
        self.answer = answer

    async def search(self, query: str, *, limit: int) -> list[Hit]:
        if isinstance(self.answer, Exception):
            raise self.answer
        return list(self.answer[:limit])


def hit(text: str) -> Hit:
    return Hit(f"About {text}", f"somewhere/{text}", f"All of {text}.", (Passage(text, 7),))


def fetcher(*tools: Canned, shelf: Shelf | None = None, sources: int = 5) -> Fetcher:
    return Fetcher({tool.name: tool for tool in tools}, shelf or Shelf(), sources=sources)


def perform(fetcher: Fetcher, *tools: str) -> FetchFound:
    return asyncio.run(fetcher.perform(FetchTask("what is it", tools)))


def titles(found: FetchFound) -> list[str]:
    return [source.title for source in found.sources]


def test_a_source_names_its_frozen_text_and_the_tool_that_found_it():
    shelf = Shelf()
    (source,) = perform(fetcher(Canned("docs", [hit("tea")]), shelf=shelf)).sources
    assert (source.title, source.location, source.tool) == ("About tea", "somewhere/tea", "docs")
    text = shelf.texts[source.sha256]
    assert all(text.startswith(passage.text, passage.start) for passage in source.passages)


def test_without_a_wish_all_tools_are_asked_and_the_best_of_each_comes_first():
    found = perform(fetcher(Canned("docs", [hit("a"), hit("b"), hit("c")]), Canned("web", [hit("x")]), sources=3))
    assert titles(found) == ["About a", "About x", "About b"]


def test_only_the_tools_that_the_task_names_are_asked():
    assert titles(perform(fetcher(Canned("docs", [hit("a")]), Canned("web", [hit("x")])), "web")) == ["About x"]


def test_one_text_is_one_source_whoever_found_it():
    assert titles(perform(fetcher(Canned("docs", [hit("a")]), Canned("web", [hit("a"), hit("x")])))) == [
        "About a",
        "About x",
    ]


def test_a_tool_that_nobody_has_is_refused_with_what_there_is():
    with pytest.raises(Terminal, match=r"no tool magic here; what there is: docs, web") as caught:
        perform(fetcher(Canned("docs", [hit("a")]), Canned("web", [])), "docs", "magic")
    assert caught.value.code == "tool_unknown"


def test_finding_nothing_is_said_with_the_query_and_the_tools():
    with pytest.raises(Terminal, match=r"“what is it” with docs, web") as caught:
        perform(fetcher(Canned("docs", []), Canned("web", [])))
    assert caught.value.code == "nothing_found"


def test_a_failing_tool_does_not_lose_what_another_found():
    broken = Canned("web", Transient("timeout", "web took too long"))
    assert titles(perform(fetcher(broken, Canned("docs", [hit("a")])))) == ["About a"]


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        ([Terminal("refused", ""), Transient("timeout", "")], "timeout"),
        ([Terminal("refused", ""), Throttled("busy", "", retry_after=3), Transient("timeout", "")], "busy"),
        ([Terminal("refused", ""), Terminal("gone", "")], "refused"),
        ([[], Transient("timeout", "")], "timeout"),
    ],
)
def test_where_nothing_was_found_a_fault_that_may_pass_is_raised_before_one_that_stays(
    answers: list[list[Hit] | Exception], code: str
):
    with pytest.raises(StepError) as caught:
        perform(fetcher(*(Canned(f"tool{number}", answer) for number, answer in enumerate(answers))))
    assert caught.value.code == code


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=3),
    st.integers(1, 9_000),
)
@settings(max_examples=30, deadline=None)
def test_a_finding_fits_in_a_message_whatever_the_tools_bring(words: list[str], times: int):
    text = "\x01".join(words) * times
    passages = tuple(Passage(text[start:], start) for start in range(0, len(text), max(1, len(text) // 7)))
    hits = [Hit(text, text, f"{number}{text}", passages) for number in range(20)]
    found = perform(fetcher(Canned("docs", hits), sources=MAX_SOURCES))
    assert len(found.sources) == MAX_SOURCES
    assert len(msgspec.json.encode(found)) < MAX_BYTES * 0.8


@pytest.mark.parametrize("sources", [0, MAX_SOURCES + 1])
def test_a_number_of_sources_that_a_message_cannot_hold_is_refused(sources: int):
    with pytest.raises(ValueError, match="sources"):
        fetcher(sources=sources)
