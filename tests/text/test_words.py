"""Words and terms of a text, as planner, index and extraction understand them alike."""

import pytest

from shared.text.terms import jaccard, overlap, shingles, terms
from shared.text.words import CONSTRUCT, QUERY_STOP_WORDS, STOP_WORDS, is_technical, subwords


@pytest.mark.parametrize("word", ["os.walk", "task_done", "TaskGroup", "HTTP", "ids3", "3D", "C++", "C#", "__exit__"])
def test_names_in_code_are_technical(word: str):
    assert is_technical(word)


@pytest.mark.parametrize("word", ["task", "Group", "I", "3.11", "2026", "well-known", "don't", "3.11+"])
def test_words_and_versions_are_not(word: str):
    assert not is_technical(word)


def test_a_name_in_camel_case_has_words():
    assert subwords("openTaskGroup") == ["open", "Task", "Group"]
    assert subwords("HTTPServer2") == ["HTTP", "Server", "2"]


def test_stop_words_are_lower_case_and_those_of_queries_are_more():
    assert STOP_WORDS < QUERY_STOP_WORDS
    assert all(word == word.casefold() for word in QUERY_STOP_WORDS)


def test_constructs_are_named_by_a_stop_word_and_a_kind():
    assert CONSTRUCT.findall("the with statement, a for  loop, and while we wait") == [
        ("with", "statement"),
        ("for", "loop"),
    ]


def test_terms_forget_who_does_it_and_keep_names_that_are_no_words():
    assert set(terms("handlers handled")) == set(terms("to handle it")) == set(terms("handling"))
    assert set(terms("gathered")) == set(terms("gather"))
    assert set(terms('"except*" and __exit__')) == {"except*", "__exit__"}


def test_terms_forget_endings_and_know_the_parts_of_names():
    assert set(terms("asyncio.TaskGroup")) == {"asyncio", "taskgroup", "task", "group"}
    assert set(terms("Cancels tasks of the group")) == set(terms("cancelling a task's groups")) - {"s"}
    assert overlap(shingles("a b c d"), shingles("a b c d e f")) == 1.0
    assert overlap(shingles("a b c d"), shingles("d c b a")) == 0.0
    assert jaccard({1, 2, 3}, {2, 3, 4}) == 0.5
