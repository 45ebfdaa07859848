"""Only complete sentences of prose stand in an extracted report, each exactly as its source has it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.text.sentences import LONGEST, SHORTEST, blocks, sentences

PLAIN = "The statement is executed when the context manager exits."


def texts(passage: str) -> list[str]:
    return [" ".join(sentence.text.split()) for sentence in sentences(passage)]


@pytest.mark.parametrize(
    "sentence",
    [
        "Support was added in Python 3.11 and kept in 3.12.1 for all platforms.",
        "Some objects, e.g. sockets, i.e. network handles, etc. are closed at exit.",
        "The method is described by J. Smith in Fig. 3 of the original paper.",
        'The "with" statement guarantees that "__exit__()" will always be called.',
        "``wait()`` does not cancel the futures when a timeout occurs.",
        "`await` expressions can only be used in the body of a coroutine.",
        "asyncio.run() creates a new event loop and closes it at the end.",
        "Returns two sets of tasks (done and pending), see PEP 3148 for more.",
        "Is it safe to call this method several times in a row?",
        "Die Funktion gibt eine Liste zurück, z.B. wenn Über­gaben fehlen.",
        "协程是使用 async def 语句定义的函数，它可以在执行过程中暂停和恢复，并且允许其他协程在此期间运行。",
    ],
)
def test_a_sentence_is_not_broken_by_what_is_in_it(sentence):
    assert texts(f"{PLAIN} {sentence} {PLAIN}") == [PLAIN, " ".join(sentence.split()), PLAIN]


@pytest.mark.parametrize(
    "residue",
    [
        "Coroutines and Tasks\n====================",
        "## Coroutines and tasks are explained in this chapter.",
        ">>> print('The task was cancelled because it took too long.')",
        "... print('The task was cancelled because it took too long.')",
        "async def gather(*coros_or_futures, return_exceptions=False):",
        "asyncio.wait_for(fut, timeout, *, loop=None)",
        ".. note:: The following text is a directive and nobody reads it.",
        ":param timeout: The number of seconds that the caller is going to wait.",
        "| Constant | The function returns when any future finishes or fails. |",
        "+----------+---------------------------------------------------------+",
        "result = await asyncio.wait_for(something(), timeout=10.5)",
        "# The comment of an example is not a sentence of the document.",
        "the beginning of this sentence was lost with the passage before it.",
        "The end of this sentence was lost with the passage that comes after",
        "The values that can be given to the function are listed here:",
        "Too short, this.",
        "Nobody closed the bracket (that was opened in this sentence here.",
        "The `code that was opened in this sentence was never closed again.",
        "E fixture 'db' not found > available fixtures: cache, capfd, caplog. > use help.",
        "```\nThe text of a fenced block is code even where it reads like a sentence.\n```",
        "An example follows::\n\n    This text is shown as it is, because it is an example of text.\n",
    ],
)
def test_what_is_no_sentence_is_left_out_and_spoils_none_beside_it(residue):
    assert texts(f"{PLAIN}\n\n{residue}\n\n{PLAIN}") == [PLAIN, PLAIN]


def test_a_sentence_goes_on_over_line_breaks_but_not_over_items_and_headings():
    passage = (
        "Timeouts of waiting tasks\n"
        "The function waits until the future is\nactually cancelled by the loop.\n"
        "* The first item is a sentence that goes on\n  in the second line of the item.\n"
        "* The second item is a sentence of its own right.\n"
        "1. The third item is numbered, and it is a sentence.\n"
    )
    assert texts(passage) == [
        "The function waits until the future is actually cancelled by the loop.",
        "The first item is a sentence that goes on in the second line of the item.",
        "The second item is a sentence of its own right.",
        "The third item is numbered, and it is a sentence.",
    ]


def test_a_definition_of_a_name_needs_no_full_stop():
    passage = (
        "multiprocessing.RLock(): Returns a recursive lock object\n\nReturns a recursive lock object to its caller"
    )
    assert texts(passage) == ["multiprocessing.RLock(): Returns a recursive lock object"]


def test_help_texts_are_read_past_their_margin():
    passage = (
        " |  submit(self, fn, /, *args)\n |      Submits a callable to be executed with the given arguments.\n |  \n"
    )
    assert texts(passage) == ["Submits a callable to be executed with the given arguments."]


def test_a_sentence_knows_whether_it_follows_another_one():
    passage = f"{PLAIN} It is awaited by all of the tasks in the group.\n\nIt is awaited by none of the tasks in here."
    assert [sentence.follows for sentence in sentences(passage)] == [False, True, False]


FRAGMENTS = st.sampled_from(
    [
        *(
            PLAIN,
            "It is so. ",
            "e.g. ",
            "3.11 ",
            "\n",
            "\n\n",
            "    ",
            " |  ",
            "* ",
            "1. ",
            ">>> x\n",
            "===\n",
            "```\n",
            "::\n",
        ),
        *(
            "The ``code`` is run by the loop. ",
            "(open ",
            "“quoted” ",
            "f(x, y)\n",
            "协程。",
            "\t",
            "\r\n",
            "\u00a0",
            "# a\n",
        ),
    ]
)
PASSAGES = st.one_of(st.text(max_size=400), st.lists(FRAGMENTS, max_size=30).map("".join))


@given(PASSAGES)
def test_every_sentence_is_verbatim_at_its_place_of_a_sane_size_and_apart_from_the_others(passage):
    end = 0
    for sentence in sentences(passage):
        assert passage[sentence.start : sentence.start + len(sentence.text)] == sentence.text
        assert SHORTEST <= len(" ".join(sentence.text.split())) <= LONGEST
        assert sentence.start >= end
        end = sentence.start + len(sentence.text)


@given(PASSAGES)
def test_blocks_are_in_order_and_do_not_overlap(passage):
    end = 0
    for start, stop in blocks(passage):
        assert end <= start < stop <= len(passage)
        end = stop
