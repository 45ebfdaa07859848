"""A report shows what it rests on, whatever is written in the sources."""

import re

import hypothesis.strategies as st
import pytest
from hypothesis import given

from shared.contracts.evidence import Citation, CitedSource, Claim, Report, Section, Usage
from shared.contracts.markdown import markdown

A, B = "a" * 64, "b" * 64
SOURCES = (CitedSource(1, A, "Tasks", "docs/a.rst"), CitedSource(2, B, "Groups", "docs/b.rst"))


def cites(*sha256s: str) -> tuple[Citation, ...]:
    return tuple(Citation(sha256, "quote", 0) for sha256 in sha256s)


def report(*claims: Claim, heading: str = "Answer", gaps: tuple[str, ...] = ()) -> Report:
    return Report((Section(heading, claims),), SOURCES, "offline", gaps=gaps)


def test_a_report_in_full():
    written = Report(
        (
            Section("", (Claim("First.", cites(A)),)),
            Section("More", (Claim("Second.", cites(B, A, B)), Claim("Third.", cites(B)))),
        ),
        SOURCES,
        "m-1",
        degraded="The model cited nothing.",
        gaps=("What of threads?",),
    )
    assert markdown("Why?", written) == (
        "# Why?\n\n"
        "*Written by m-1 · 3 claims · 2 sources of 2 origins*\n\n"
        "*Degraded: The model cited nothing.*\n\n"
        "First. [1]\n\n"
        "## More\n\n"
        "Second. [2][1] Third. [2]\n\n"
        "## Not answered\n\n"
        "- What of threads?\n\n"
        "## Sources\n\n"
        "1. Tasks · docs/a.rst · no date · SHA-256 aaaaaaaaaaaa\n"
        "2. Groups · docs/b.rst · no date · SHA-256 bbbbbbbbbbbb\n"
    )


def test_the_offline_model_says_that_no_model_took_part():
    assert "no language model took part" in markdown("Why?", report(Claim("So.", cites(A))))


claims = st.lists(st.lists(st.sampled_from((A, B)), min_size=1, max_size=4), min_size=1, max_size=5)


@given(cited=claims)
def test_every_sentence_ends_in_the_numbers_of_its_sources(cited: list[list[str]]):
    sentences = [Claim(f"Sentence {n}.", cites(*sha256s)) for n, sha256s in enumerate(cited)]
    text = markdown("Why?", report(*sentences))
    numbers = {A: "[1]", B: "[2]"}
    for n, sha256s in enumerate(cited):
        marks = "".join(numbers[sha256] for sha256 in dict.fromkeys(sha256s))
        assert re.search(rf"Sentence {n}\. {re.escape(marks)}( |$)", text, re.MULTILINE)


HOSTILE = st.sampled_from(
    ("a\nb", "\n# Fake", "x\r\n\r\n## Sources", "a\u2028b", "a\u2029b", "a\x85b", "a\x0bb\x0cc", "\n")
)


@given(text=HOSTILE | st.text(max_size=30))
def test_hostile_text_stays_on_its_line(text: str):
    """Whatever stands in a question, a heading, a claim, a gap, a title, a location, or a model's name."""
    plain, hostile = (
        markdown(
            words,
            Report(
                (Section(f"h{words}", (Claim(words, cites(A)),)),),
                (CitedSource(1, A, words, words),),
                f"w{words}",
                degraded=f"d{words}",
                gaps=(words,),
            ),
        )
        for words in ("plain", text)
    )
    assert len(hostile.splitlines()) == len(plain.splitlines())


def test_a_citation_of_a_source_that_is_not_listed_does_not_stop_the_report():
    """A worker wrote it: the coordinator, which renders it, must outlive it."""
    stray = Report((Section("", (Claim("So.", cites(B)),)),), SOURCES[:1], "m-1")
    assert "So. " in markdown("Why?", stray)


@pytest.mark.parametrize(
    ("one", "other", "total"),
    [(None, None, None), (0.5, None, 0.5), (None, 0.25, 0.25), (0.5, 0.25, 0.75), (0.0, None, 0.0)],
)
def test_a_price_is_the_sum_of_what_is_known_and_never_guessed(
    one: float | None, other: float | None, total: float | None
):
    summed = Usage(1, 10, 100, one).plus(Usage(2, 20, 200, other))
    assert summed == Usage(3, 30, 300, total)
