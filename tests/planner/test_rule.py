"""The plan by rule: short, distinct searches that a person recognises their question in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.planner.rule import MAX_LENGTH, MAX_WORDS, MOST, plan_queries, query_key
from shared.contracts.tasks import PlanTask

TASK_GROUPS = (
    "How does asyncio.TaskGroup handle errors compared with asyncio.gather, and when should I use contextvars?"
)


@pytest.mark.parametrize(
    ("question", "queries"),
    [
        (TASK_GROUPS, ["asyncio.TaskGroup handle errors", "asyncio.gather", "contextvars", "asyncio.TaskGroup"]),
        ("What is contextvars?", ["contextvars"]),
        ("asyncio.run() or `loop.run_until_complete()`?", ["asyncio.run", "loop.run_until_complete"]),
        ("How do I run blocking code without stalling the event loop?", ["blocking code", "event loop"]),
        (
            "Why is my sqlite3 database locked when several threads write?",
            ["sqlite3 database locked", "sqlite3 threads"],
        ),
        (
            "What are the differences between threading, multiprocessing and asyncio?",
            ["threading", "multiprocessing", "asyncio"],
        ),
        (
            "Explain structured concurrency: cancellation, timeouts, and exception groups.",
            ["structured concurrency cancellation", "structured concurrency timeouts"],
        ),
        (
            "How does Python's logging module decide which handlers receive a record?",
            ["Python logging module"],
        ),
        ("What's new in C++20 vs C#?", ["C++20", "C#"]),
        ("什么是协程？", ["什么是协程"]),
        ("What does the with statement guarantee, and when is it used?", ["with statement guarantee"]),
        (
            "When is the else clause of a while loop or a for loop executed?",
            ["else clause while loop", "for loop executed"],
        ),
        ("How does `with` close a file?", ["with close file"]),
        ("How can I tell whether joining a thread with a timeout timed out?", ["thread"]),
        ("How do tides work, and what happens at a neap tide?", ["tides", "neap tide"]),
        ("How long is a backup kept?", ["backup kept"]),
    ],
)
def test_a_question_is_cut_into_what_it_is_about(question, queries):
    assert set(queries) <= set(plan_queries(PlanTask(question)))


@pytest.mark.parametrize(
    ("question", "word"),
    [
        ("What happens if a disk fails while a backup runs?", "happens"),
        ("How does functools.lru_cache work?", "work"),
        ("Start with statements of fact: how do loans affect prices?", "with"),
        ("Does work stealing work with threads?", "with"),
        (TASK_GROUPS, "compared"),
    ],
)
def test_words_that_only_ask_are_not_searched_for(question, word):
    assert not any(word in query.split() for query in plan_queries(PlanTask(question)))


def test_what_technical_things_are_compared_by_is_no_search_of_its_own():
    assert "errors" not in plan_queries(
        PlanTask("How does asyncio.TaskGroup handle errors compared with asyncio.gather?")
    )


def test_the_question_is_asked_before_its_background():
    told = "We run a web service. It hangs at shutdown. How do I cancel pending futures of a ThreadPoolExecutor?"
    assert plan_queries(PlanTask(told))[0] == "cancel pending futures ThreadPoolExecutor"


def test_feedback_comes_first_and_is_about_the_same_subject():
    first = plan_queries(PlanTask(TASK_GROUPS))
    task = PlanTask(TASK_GROUPS, feedback=("More on exception groups, please.", "And cancellation."), asked=first)
    assert plan_queries(task)[:2] == ("asyncio.TaskGroup cancellation", "asyncio.TaskGroup exception groups")


@pytest.mark.parametrize(
    ("feedback", "wanted"),
    [
        ("Not enough about cancellation.", True),
        ("There is no mention of cancellation.", True),
        ("Don't forget cancellation.", True),
        ("Less about cancellation.", False),
        ("Not cancellation.", False),
        ("Please research shutdown. Skip cancellation.", False),
        ("Too much about cancellation.", False),
    ],
)
def test_what_a_reviewer_wants_less_of_is_not_searched_for(feedback, wanted):
    queries = plan_queries(PlanTask("asyncio.TaskGroup", feedback=(feedback,), asked=("asyncio.TaskGroup",)))
    assert any("cancellation" in query for query in queries) is wanted


@pytest.mark.parametrize(
    ("feedback", "wanted"),
    [
        ("No, not enough. What about cancellation and timeouts?", ["cancellation", "timeouts"]),
        ("no", []),
        (
            "Nothing on ExceptionGroup or on contextvars; I know about errors already.",
            ["ExceptionGroup", "contextvars"],
        ),
        ("Too thin. Compare with Trio nurseries.", ["Trio nurseries"]),
        ("Far too shallow on cancellation.", ["cancellation"]),
    ],
)
def test_a_next_round_searches_for_what_the_feedback_names_first_and_for_nothing_again(feedback, wanted):
    first = plan_queries(PlanTask(TASK_GROUPS))
    second = plan_queries(PlanTask(TASK_GROUPS, feedback=(feedback,), asked=first))
    assert second
    assert not {query_key(query) for query in first} & {query_key(query) for query in second}
    for number, words in enumerate(wanted):
        assert words in second[number]


@pytest.mark.parametrize("question", ["", "???", "how and why is it", "the"])
def test_a_question_of_nothing_gives_no_plan(question):
    assert plan_queries(PlanTask(question)) == ()


WORDS = st.sampled_from(
    [
        *("how", "does", "asyncio.TaskGroup", "handle", "errors", "compared", "with", "the", "sqlite3", "database"),
        *(
            ",",
            "and",
            "?",
            ".",
            "\n",
            "when",
            "not",
            "less",
            "threads",
            "Grüße",
            "协程",
            "__init__",
            "`dict`",
            "f()",
            "3.11",
        ),
    ]
)
QUESTIONS = st.one_of(st.text(max_size=300), st.lists(WORDS, max_size=40).map(" ".join))


@given(QUESTIONS, st.lists(QUESTIONS, max_size=3), st.lists(QUESTIONS, max_size=5))
def test_any_plan_is_few_short_distinct_queries_none_of_them_asked_before(question, feedback, asked):
    queries = plan_queries(PlanTask(question, feedback=tuple(feedback), asked=tuple(asked)))
    assert len(queries) <= MOST
    assert len({query_key(query) for query in queries}) == len(queries)
    assert not {query_key(query) for query in queries} & {query_key(query) for query in asked}
    for query in queries:
        assert query.strip()
        assert len(query) <= MAX_LENGTH
        assert len(query.split()) <= MAX_WORDS + 3


@given(st.lists(WORDS, max_size=40).map(" ".join))
def test_a_first_round_searches_for_nothing_that_its_question_does_not_say(question):
    said = {word.casefold() for query in plan_queries(PlanTask(question)) for word in query.split()}
    assert all(word in question.casefold() for word in said)


def test_a_round_that_somebody_asked_for_has_several_queries_though_its_feedback_names_nothing():
    assert plan_queries(PlanTask("What is contextvars?")) == ("contextvars",)
    assert len(plan_queries(PlanTask("What is contextvars?", feedback=("Too thin.",), asked=("contextvars",)))) >= 3


def test_rounds_go_on_until_the_subject_has_no_side_left():
    asked: tuple[str, ...] = ()
    while queries := plan_queries(PlanTask("contextvars", asked=asked)):
        asked += queries
    assert len(asked) == len(set(asked)) >= 8
