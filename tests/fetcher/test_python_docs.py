"""The built-in corpus: what this Python says of itself, as clean paragraphs that can be quoted."""

import asyncio
import platform
import re
import sys
from pathlib import Path

import pytest

from services.fetcher.documents import python_docs
from services.fetcher.documents.python_docs import Member, Module, Strings, collected, documents
from services.fetcher.documents.text import Document
from services.fetcher.findings.tool import Hit, Search
from services.fetcher.tools.docs import Docs
from shared.errors import Transient


@pytest.fixture
def corpus(python_pages: list[Document]) -> dict[str, Document]:
    return {page.location: page for page in python_pages}


@pytest.fixture
def docs(python_docs: Path) -> Docs:
    return Docs(None, python_docs)


def search(docs: Docs, query: str) -> list[Hit]:
    return asyncio.run(docs.search(Search(query=query, limit=5)))


def test_a_question_about_task_groups_is_answered_by_task_groups(docs: Docs):
    best = search(docs, "asyncio TaskGroup cancellation")[0]
    assert best.location == "python:asyncio.TaskGroup"
    assert best.title == f"asyncio.TaskGroup — Python {platform.python_version()} documentation strings"
    assert "Asynchronous context manager for managing groups of tasks." in best.passages[0].text


@pytest.mark.parametrize(
    ("question", "location"),
    [
        ("How does the garbage collector find reference cycles?", "python:gc"),
        ("with statement context manager", "python:topic/with"),
        ("exception groups and except*", "python:topic/try"),
        ("when are default arguments of a function definition evaluated", "python:topic/function"),
        ("weak references", "python:weakref"),
        ("kill a child process after a timeout", "python:subprocess.Popen"),
        ("least recently used cache", "python:functools.lru_cache"),
        ("descriptor protocol __get__ __set__", "python:topic/attribute-access"),
    ],
)
def test_real_questions_find_the_page_that_a_person_would_open(docs: Docs, question: str, location: str):
    assert location in [hit.location for hit in search(docs, question)]


@pytest.mark.parametrize("question", ["What is the capital of France?", "kubernetes pod autoscaling"])
def test_what_python_does_not_speak_of_finds_nothing(docs: Docs, question: str):
    assert search(docs, question) == []


def test_the_standard_library_is_there_and_its_tests_and_jokes_are_not(corpus: dict[str, Document]):
    expected = {"asyncio.Queue", "os.walk", "os.path", "dict", "pathlib.Path", "subprocess.run", "topic/with", "gc"}
    assert {f"python:{name}" for name in expected} <= corpus.keys()
    modules = {location.removeprefix("python:").partition(".")[0] for location in corpus}
    assert modules.isdisjoint({"antigravity", "this", "test", "idlelib", "turtledemo", "posixpath"})


def test_each_text_is_there_once(corpus: dict[str, Document]):
    assert len(corpus) > 800
    assert len({document.text for document in corpus.values()}) == len(corpus)


def test_texts_have_no_residue_of_terminals_and_markup(corpus: dict[str, Document]):
    everything = "\n".join(document.text for document in corpus.values())
    assert not re.search(
        r"\x08|^ \||Method resolution order|:(?:class|func|pep):`|\[\d\]_| at 0x7f", everything, re.MULTILINE
    )


def test_sentences_are_not_broken_by_lines(corpus: dict[str, Document]):
    text = corpus["python:asyncio.TaskGroup"].text
    assert (
        "Any exceptions other than `asyncio.CancelledError` raised within a task will cancel all remaining tasks "
        "and wait for them to exit." in text
    )
    assert "    async with asyncio.TaskGroup() as group:\n        task1 = group.create_task(" in text


def test_the_first_sentence_of_an_entry_says_what_it_is_about():
    method = Member("method", "close", "(self, /, *, wait=True)", "Close it.\n\nAll of\nit.", ())
    strings = Strings((Module("m", "A module.", (Member("class", "C", "()", "A class.", (method,)),)),), {})
    (document,) = documents(strings, "3.x")
    assert document.text == "m: A module.\n\nm.C(): A class.\n\nm.C.close(/, *, wait=True): Close it.\n\nAll of it."


def test_a_topic_leaves_to_shorter_ones_what_they_have(corpus: dict[str, Document]):
    promise = 'The execution of the "with" statement with one “item” proceeds as follows:'
    assert promise in corpus["python:topic/with"].text
    assert promise not in corpus["python:topic/compound"].text


def test_collecting_imports_nothing_here():
    before = set(sys.modules)
    collected()
    assert {"turtle", "antigravity", "pydoc_data.topics"}.isdisjoint(set(sys.modules) - before)


def test_a_python_that_cannot_be_asked_is_a_transient_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(python_docs.sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(Transient, match="no-python") as caught:
        search(Docs(None, tmp_path), "anything")
    assert caught.value.code == "docs_python"
