"""What is published can be looked up: every quote stands verbatim in the frozen text, at its place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.synthesizer.citations import gaps, report_of
from services.synthesizer.locate import locate
from services.synthesizer.schema import WriterReply, WrittenClaim, WrittenQuote, WrittenSection
from services.synthesizer.sources import number_sources
from shared.contracts.evidence import Citation, CitedSource, Failure, Finding, Passage, Source
from shared.contracts.tasks import SynthesizeTask

TEXT = "Tasks are awaited when the group’s block exits.\n    A “failure” — any failure — cancels the others."


def source(sha256="a" * 64, *passages, title="Title"):
    return Source(sha256, title, f"docs/{sha256[:2]}", "docs", passages or (Passage(TEXT, 100),))


def task(*findings):
    return SynthesizeTask("question", "digest", findings)


def claim(text, *quotes):
    return WrittenClaim(text=text, quotes=[WrittenQuote(source=n, quote=quote) for n, quote in quotes])


def reply(*sections):
    return WriterReply(sections=[WrittenSection(heading=heading, claims=claims) for heading, *claims in sections])


@pytest.mark.parametrize(
    ("quote", "verbatim"),
    [
        ("Tasks are awaited", "Tasks are awaited"),
        ("when the group's block exits.", "when the group’s block exits."),
        ('block exits. A "failure" - any failure', "block exits.\n    A “failure” — any failure"),
        ("  Tasks   are\nawaited  ", "Tasks are awaited"),
        ('"Tasks are awaited when"', "Tasks are awaited when"),
        ("…cancels the others...", "cancels the others"),
    ],
)
def test_a_quote_is_found_whatever_the_writer_did_to_its_typography(quote, verbatim):
    assert locate(quote, source()) == Citation("a" * 64, verbatim, 100 + TEXT.index(verbatim))


@pytest.mark.parametrize(
    "quote",
    ["", " ", ".", "Tasks", "the", "Tasks were awaited", "tasks are awaited", "Tasks are … block exits", "a" * 600],
)
def test_a_quote_that_is_not_there_or_says_nothing_is_not_found(quote):
    assert locate(quote, source()) is None


def test_a_quote_of_all_of_a_short_passage_is_enough():
    assert locate("Yes.", source("b" * 64, Passage("Yes.", 7))) == Citation("b" * 64, "Yes.", 7)


def test_a_claim_keeps_the_quotes_that_are_found_and_falls_with_the_last():
    written = reply(
        (
            "Heading",
            claim("One.", (1, "Tasks are awaited"), (1, "made up by a model")),
            claim("Two.", (1, "made up by a model")),
            claim("Three."),
        )
    )
    published = report_of(task(Finding("q", (source(),))), written, writer="m")
    assert [(c.text, len(c.citations)) for section in published.sections for c in section.claims] == [("One.", 1)]


@pytest.mark.parametrize("number", [0, -1, 2, 3, 10**9])
def test_a_quote_counts_only_in_the_source_that_it_names(number):
    other = source("b" * 64, Passage("Something else is said here.", 0))
    written = reply(("Heading", claim("One.", (number, "Tasks are awaited"))))
    assert report_of(task(Finding("q", (source(), other))), written, writer="m").sections == ()


def test_sections_without_claims_vanish_and_so_do_repetitions():
    one = claim("One.", (1, "Tasks are awaited"))
    written = reply(
        ("Empty",), ("Lost", claim("Two.", (1, "made up by a model"))), (" Kept \n", one, one), ("Again", one)
    )
    published = report_of(task(Finding("q", (source(),))), written, writer="m")
    assert [(section.heading, len(section.claims)) for section in published.sections] == [("Kept", 1)]


def test_sources_are_listed_in_the_order_in_which_they_are_first_cited_and_no_others():
    found = [source(letter * 64, Passage(f"Said by source {letter} alone.", 0), title=letter) for letter in "abc"]
    written = reply(
        (
            "Heading",
            claim("One.", (3, "Said by source c alone.")),
            claim("Two.", (1, "Said by source a alone."), (3, "Said by source c")),
        )
    )
    published = report_of(task(Finding("q", tuple(found))), written, writer="m")
    assert published.sources == (
        CitedSource(1, "c" * 64, "c", "docs/cc"),
        CitedSource(2, "a" * 64, "a", "docs/aa"),
    )


@pytest.mark.parametrize(
    ("written", "published"),
    [
        ("Tasks are awaited [1].", "Tasks are awaited."),
        ("Tasks are awaited. [1][2]", "Tasks are awaited."),
        ("Tasks are awaited.[3]", "Tasks are awaited."),
        ("Tasks are awaited [1, 2]", "Tasks are awaited"),
        ("Tasks\nare awaited in awaited[x].", "Tasks are awaited in awaited[x]."),
    ],
)
def test_source_numbers_of_the_writer_are_not_published(written, published):
    made = report_of(
        task(Finding("q", (source(),))), reply(("H", claim(written, (1, "Tasks are awaited")))), writer="m"
    )
    assert made.sections[0].claims[0].text == published


def test_a_source_of_several_findings_has_one_number_and_all_its_passages():
    first, second = Passage("The first passage of it.", 0), Passage("The second passage of it.", 50)
    found = (
        Finding("p", (source("a" * 64, second), source("b" * 64))),
        Finding("q", (source("a" * 64, first, second),)),
    )
    assert [(each.sha256[0], each.passages) for each in number_sources(found)] == [
        ("a", (first, second)),
        ("b", (Passage(TEXT, 100),)),
    ]


def test_what_brought_nothing_to_the_report_is_named_with_its_reason():
    other = source("b" * 64, Passage("Something else is said here.", 0))
    findings = (
        Finding("p", (source(), other)),
        Finding("q"),
        Finding("r", failure=Failure("blocked", "The site said no.")),
        Finding("s", (other,)),
    )
    assert gaps(findings, {"a" * 64}) == (
        "q — no sources",
        "r — The site said no.",
        "s — none of its sources is quoted",
    )


PASSAGES = st.lists(st.text(max_size=60), min_size=1, max_size=4)


@given(st.lists(PASSAGES, min_size=1, max_size=3), st.data())
def test_whatever_a_writer_writes_every_citation_is_verbatim_at_its_offset(documents, data):
    frozen = {f"{n:064x}": "\n".join(texts) for n, texts in enumerate(documents)}
    found = tuple(
        source(sha256, *(Passage(frozen[sha256][at:], at) for at in {0, len(texts[0])}))
        for sha256, texts in zip(frozen, documents, strict=True)
    )
    pieces = [text[i : i + 20] for texts in documents for text in texts for i in range(0, len(text), 7)]
    quotes = st.one_of(st.sampled_from(pieces or [""]), st.text(max_size=30))
    numbers = st.integers(min_value=-1, max_value=len(documents) + 1)
    claims = data.draw(st.lists(st.lists(st.tuples(numbers, quotes), max_size=3), max_size=5))
    written = reply(("H", *(claim(f"Claim {n}.", *each) for n, each in enumerate(claims))))
    published = report_of(task(Finding("q", found)), written, writer="m")
    for citation in published.quoted():
        assert frozen[citation.sha256][citation.start : citation.start + len(citation.quote)] == citation.quote
        assert citation.quote.strip()
    cited = {citation.sha256 for citation in published.quoted()}
    assert {each.sha256 for each in published.sources} == (set(frozen) if published.insufficient else cited)
