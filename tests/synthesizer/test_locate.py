"""A quote is found as it is, in other typography, or nearly; what counts in it is never another's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.synthesizer.locate import MIN_NEARLY, locate, mean_the_same
from shared.contracts.evidence import Citation, Passage, Source
from shared.text.words import word_list

TEXT = (
    "Background. The server keeps connections open for 30 seconds, and does not retry a request that Nginx refused. "
    "Operators may raise the limit. Requests that fail are written to the log of the process.\n"
)


def source(*texts: str) -> Source:
    return Source("a" * 64, "Title", "docs/a", "docs", tuple(Passage(text, 1_000 * n) for n, text in enumerate(texts)))


@pytest.mark.parametrize(
    ("quote", "place"),
    [
        (
            "The server keeps the connections open for 30 seconds",
            "The server keeps connections open for 30 seconds",
        ),
        (
            "Requests that failed are written to the log of the process",
            "Requests that fail are written to the log of the process",
        ),
        (
            "The server keeps connectoins open for 30 seconds, and does not retry a requst",
            None,
        ),
        (
            "server keeps connections opn for 30 seconds, and does not retry a request that Nginx refused",
            None,
        ),
        (
            "The server keps connections open for 30 seconds and does not retry requests that Nginx refused",
            None,
        ),
        (
            "Operators may raise the limits. Requests that fail are writen to the log of a process",
            "Operators may raise the limit. Requests that fail are written to the log of the process",
        ),
    ],
)
def test_a_long_quote_with_a_slip_is_published_in_the_sources_own_words(quote: str, place: str | None):
    found = locate(quote, source("Something else entirely is said here.", TEXT))
    assert found == (Citation("a" * 64, place, 1_000 + TEXT.index(place)) if place else None)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("keeps connections open for 30 seconds", "keeps connections open for 90 seconds"),
        ("keeps connections open for 30 seconds", "keeps connections open for 30 minutes"),
        ("does not retry a request", "does retry a request"),
        ("a request that Nginx refused", "a request that Caddy refused"),
        ("Operators may raise the limit", "Operators must raise the limit"),
        ("written to the log of the process", "written from the log of the process"),
        ("the synchronous call of the process", "the asynchronous call of the process"),
        ("it increases the cost of the process", "it decreases the cost of the process"),
        ("the limit of 12345 requests", "the limit of 12346 requests"),
        ("it runs at -5 degrees outside", "it runs at 5 degrees outside"),
        ("a copy that is never than ours", "a copy that is newer than ours"),
        ("some of the requests fail", "all of the requests fail"),
        ("a million requests of the process", "a billion requests of the process"),
        ("the safe mode of the process", "the unsafe mode of the process"),
    ],
)
def test_nearly_the_same_is_not_the_same_where_a_number_name_denial_or_sense_differs(one: str, other: str):
    assert mean_the_same(one, one)
    assert not mean_the_same(one, other)
    assert not mean_the_same(other, one)
    sentence = f"It is well known to everybody who has read the whole manual that {one} in nearly every case there is."
    assert locate(sentence, source(sentence.replace(one, other))) is None


def test_in_a_short_quote_every_word_counts():
    assert locate("Requests that failed are written", source(TEXT)) is None
    assert len("Requests that failed are written") < MIN_NEARLY


def test_the_best_of_several_places_is_taken():
    near = "Requests which fail are writen into the log of that process."
    found = locate("Requests that failed are written to the log of the process", source(near, TEXT))
    assert found is not None
    assert found.quote.startswith("Requests that fail are written")


WORDS = st.sampled_from(word_list("the a not may 30 90 Nginx process written log of to from fails failed quickly “ -"))


@given(st.lists(WORDS, min_size=12, max_size=40), st.lists(WORDS, min_size=12, max_size=40))
def test_whatever_is_found_stands_at_its_place(some: list[str], others: list[str]):
    text = " ".join(others + some + others)
    page = Source("a" * 64, "", "", "docs", (Passage(text, 7),))
    found = locate(" ".join(some), page)
    assert found is not None
    nearly = locate(" ".join([*some[:5], *some[6:], "written"]), page)
    for citation in (found, nearly):
        assert citation is None or text[citation.start - 7 :].startswith(citation.quote)
