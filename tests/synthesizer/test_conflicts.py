"""Sources that contradict each other are shown side by side; few are found by rule, and nearly none wrongly."""

import pytest

from services.fetcher.documents.language_reference import LanguageReference
from services.synthesizer.citations import report_of
from services.synthesizer.conflicts import contradictions, difference
from services.synthesizer.extract import extract_report
from services.synthesizer.schema import WriterReply
from shared.contracts.evidence import Citation, Conflict, Finding, Passage, Report, Source
from shared.contracts.markdown import markdown
from shared.contracts.tasks import SynthesizeTask
from shared.text.sentences import sentences

ONE = "The Moon circles the planet Earth once in about 27 days."
OTHER = "The Moon circles the planet Earth once in about 29 days."


def source(name: str, text: str, *, origin: str = "") -> Source:
    return Source(name * 64, f"Page {name}", f"docs/{name}", "docs", (Passage(text, 5),), origin=origin)


def task(*sources: Source) -> SynthesizeTask:
    return SynthesizeTask("How long is a month?", "digest", (Finding("Moon circles Earth", sources),))


@pytest.mark.parametrize(
    ("one", "other", "about"),
    [
        (ONE, OTHER, "27 days or 29 days?"),
        (ONE, ONE.replace("27 days", "648 hours"), ""),
        (
            "Backups of the customer database are kept for 30 days.",
            "Backups of the customer database are kept for 30 months.",
            "",
        ),
        (
            "Backups of the customer database are encrypted at rest.",
            "Backups of the customer database are not encrypted at rest.",
            "One says it, the other denies it.",
        ),
        (
            "The mail server of Acme accepts messages of 25 MB.",
            "The mail server of Initech accepts messages of 50 MB.",
            "",
        ),
        (
            "It was added to the standard library in version 3.8.",
            "It was added to the standard library in version 3.9.",
            "",
        ),
        (
            "The result is a named tuple with 5 fields as above.",
            "The result is a named tuple with 6 fields as above.",
            "",
        ),
        ("It keeps the backups of the database for 30 days.", "It keeps the backups of the database for 90 days.", ""),
        (
            "List all lines around the current line without arguments.",
            "List all lines around the current line here.",
            "",
        ),
        ("Cats sleep for 16 hours.", "The daily sleep of a dog is rarely longer than 12 hours in a row.", ""),
    ],
)
def test_a_contradiction_is_the_same_said_with_another_number_or_denied(one: str, other: str, about: str):
    assert difference(one, other) == about
    assert bool(difference(other, one)) == bool(about)


def test_a_source_that_is_not_quoted_may_contradict_one_that_is():
    """The second says it in much the same words, and so would be left out as a repetition."""
    asked = task(source("a", ONE), source("b", f"Some other thing first. {OTHER}"))
    made = report_of(asked, extract_report(asked), writer="offline")
    [conflict] = made.conflicts
    assert {conflict.one.quote, conflict.other.quote} == {ONE, OTHER}
    assert conflict.other.start == 5 + len("Some other thing first. ")
    assert {each.title for each in made.sources} == {"Page a", "Page b"}
    page = markdown("How long?", made)
    assert f"## Sources disagree\n\n- 27 days or 29 days?\n  - “{ONE}” [1]\n  - “{OTHER}” [2]" in page


def test_one_origin_does_not_contradict_itself_however_many_links_lead_to_it():
    asked = task(source("a", ONE, origin="moon.test"), source("b", OTHER, origin="moon.test"))
    assert report_of(asked, extract_report(asked), writer="offline").conflicts == ()


def disputed(*conflicts: tuple[int, str, int, str]) -> Report:
    told = [
        {"about": "the month", "one": {"source": n, "quote": one}, "other": {"source": m, "quote": other}}
        for n, one, m, other in conflicts
    ]
    claim = {
        "text": "The Moon circles the Earth.",
        "quotes": [{"source": 1, "quote": "The Moon circles the planet Earth"}],
    }
    reply = WriterReply.model_validate({"sections": [{"heading": "", "claims": [claim]}], "conflicts": told})
    return report_of(
        task(source("a", "The Moon circles the planet Earth. It is grey."), source("b", OTHER)), reply, writer="m"
    )


def test_a_writers_contradictions_are_located_like_any_quote_and_need_two_sources():
    made = disputed(
        (1, "The Moon circles the planet Earth", 2, "once in about 29 days"),
        (1, "The Moon circles the planet Earth", 2, "once in about 30 days"),
        (2, "The Moon circles", 2, "once in about 29 days"),
        (9, "The Moon circles", 2, "once in about 29 days"),
    )
    quote = Citation("b" * 64, "once in about 29 days", 5 + OTHER.index("once"))
    assert made.conflicts == (Conflict("the month", Citation("a" * 64, "The Moon circles the planet Earth", 5), quote),)
    assert made.dropped == 3
    assert [each.title for each in made.sources] == ["Page a", "Page b"]


def test_the_same_pair_is_shown_once():
    both = disputed(
        (1, "The Moon circles the planet Earth", 2, OTHER), (2, OTHER, 1, "The Moon circles the planet Earth")
    )
    assert len(both.conflicts) == 1


def test_real_documentation_does_not_contradict_itself():
    documents = list(LanguageReference().documents())
    sources = [
        Source(f"{n:064x}", document.title, document.location, "docs", (Passage(document.text[:4_000], 0),))
        for n, document in enumerate(documents)
    ]
    said = [
        Citation(each.sha256, sentence.text, sentence.start)
        for each in sources
        for sentence in sentences(each.passages[0].text)[:2]
    ]
    assert len(said) > 100
    assert list(contradictions(said, sources)) == []
