"""The built-in corpus: the language reference of this Python, as clean paragraphs that can be quoted."""

import asyncio
import platform
import re
import sys
from pathlib import Path

import pytest

from services.fetcher.documents.language_reference import LanguageReference, documents
from services.fetcher.documents.text import Document
from services.fetcher.findings.tool import Hit, Search
from services.fetcher.tools.docs import Docs
from shared.errors import Terminal


@pytest.fixture(scope="module")
def corpus() -> dict[str, Document]:
    return {document.location: document for document in LanguageReference().documents()}


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Docs:
    return Docs(None, tmp_path_factory.mktemp("cache"))


def search(docs: Docs, query: str) -> list[Hit]:
    return asyncio.run(docs.search(Search(query=query, limit=5)))


def test_a_question_about_a_statement_is_answered_by_its_topic(docs: Docs):
    best = search(docs, "what does the nonlocal statement do")[0]
    assert best.location == "python:topic/nonlocal"
    assert best.title == f'The "nonlocal" statement — Python {platform.python_version()} language reference'
    assert 'The "nonlocal" statement' in best.passages[0].text


@pytest.mark.parametrize(
    ("question", "location"),
    [
        ("exception groups and except*", "python:topic/try"),
        ("when are default arguments of a function definition evaluated", "python:topic/function"),
        ("descriptor protocol __get__ __set__", "python:topic/attribute-access"),
        ("else clause of a while loop", "python:topic/while"),
        ("with statement context manager", "python:topic/with"),
    ],
)
def test_real_questions_find_the_page_that_a_person_would_open(docs: Docs, question: str, location: str):
    assert location in [hit.location for hit in search(docs, question)]


@pytest.mark.parametrize("question", ["Where is Antarctica?", "kubernetes pod autoscaling"])
def test_a_subject_that_no_topic_covers_finds_nothing(docs: Docs, question: str):
    assert search(docs, question) == []


def test_each_text_is_there_once(corpus: dict[str, Document]):
    assert len(corpus) > 60
    assert len({document.text for document in corpus.values()}) == len(corpus)


def test_texts_have_no_residue_of_markup(corpus: dict[str, Document]):
    everything = "\n".join(document.text for document in corpus.values())
    assert not re.search(r"\x08|^ \||:(?:class|func|pep):`|\[\d\]_| at 0x7f", everything, re.MULTILINE)


def test_sentences_are_not_broken_by_lines_and_code_keeps_its_lines(corpus: dict[str, Document]):
    text = corpus["python:topic/with"].text
    assert (
        'The "with" statement is used to wrap the execution of a block with methods defined by a context manager '
        "(see section With Statement Context Managers)." in text
    )
    assert "    with EXPRESSION as TARGET:\n        SUITE" in text


def test_a_topic_leaves_to_shorter_ones_what_they_have(corpus: dict[str, Document]):
    promise = 'The execution of the "with" statement with one “item” proceeds as follows:'
    assert promise in corpus["python:topic/with"].text
    assert promise not in corpus["python:topic/compound"].text


def test_a_topic_that_has_no_section_of_its_own_is_no_document():
    section = "A heading\n*********\n\nA sentence.\n"
    one, other = documents({"long": f"{section}\nAnother\n*******\n\nMore words.\n", "short": section}, "3.x")
    assert (one.location, other.location) == ("python:topic/short", "python:topic/long")
    assert "A sentence." not in other.text
    assert len(list(documents({"a": section, "b": section}, "3.x"))) == 1


def test_a_python_without_its_reference_fails_the_search_and_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(Terminal, match="Set DOSSIER_DOCS") as caught:
        search(Docs(None, tmp_path), "anything")
    assert caught.value.code == "docs_python"
