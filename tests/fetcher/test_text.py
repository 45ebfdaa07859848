"""Files made readable: what a person sees of them, in whole sentences, and nothing that is hidden."""

from textwrap import dedent
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.fetcher.documents.text import Document, decode, read_document

_LINEAR_S = 20
"""Far more than linear time needs, and far less than quadratic time does."""


def read(name: str, text: str) -> Document:
    document = read_document(name, dedent(text).encode())
    assert document is not None
    return document


@pytest.mark.parametrize(
    ("name", "text", "title"),
    [
        ("a.md", "Intro\n\n## The *first* `heading` ##\n\nText.", "The first `heading`"),
        ("a.md", "The title\n=========\n\nText.", "The title"),
        ("a.md", "---\ntitle: 'From the front'\nx: y\n---\n# Another\n\nText.", "From the front"),
        ("a.md", "```\n# no heading\n```\n\nText.", "a.md"),
        ("a.rst", "=====\nTitle\n=====\n\nText.\n\nPart\n----\n", "Title"),
        (
            "a.rst",
            ".. _target:\n\n:orphan:\n\n:mod:`asyncio` --- things\n~~~~~~~~~~~~~~~~~~~~~~~~~\n\nText.",
            "asyncio --- things",
        ),
        ("a.html", "<title>The\n title</title><h1>Other</h1>text", "The title"),
        ("a.html", "<h1>Only a <em>heading</em></h1><p>text", "Only a heading"),
        ("a.txt", "Whatever\n========\n", "a.txt"),
    ],
)
def test_a_document_is_called_as_it_calls_itself_else_as_its_file(name: str, text: str, title: str):
    assert read(name, text).title == title


@pytest.mark.parametrize("name", ["a.md", "a.rst", "a.txt"])
def test_a_hard_wrapped_paragraph_becomes_one_line(name: str):
    wrapped = (
        "A sentence that was wrapped at the margin of a terminal long\n"
        "ago goes on in the next line. And here is a second one, pre-\n"
        "formatted.\n"
    )
    assert read(name, wrapped).text == (
        "A sentence that was wrapped at the margin of a terminal long ago goes on in the next line. "
        "And here is a second one, pre-formatted."
    )


def test_verse_in_a_text_file_keeps_its_lines():
    verse = "Shall I compare thee\nto a summer's day?"
    assert read("a.txt", verse).text == verse


@pytest.mark.parametrize("name", ["a.md", "a.rst", "a.txt", "a.html"])
def test_characters_that_a_reader_cannot_see_are_not_there_for_a_model_either(name: str):
    tagged = "".join(chr(0xE0000 + ord(letter)) for letter in "obey")
    assert read(name, f"Plain\u200b \u202ewords{tagged}.\x07").text == "Plain words."


def test_markdown_shows_words_without_marks_and_code_as_it_is():
    text = read(
        "a.md",
        """
        Some **bold** and _soft_ words, a [link](https://example.com/a_(b)), ![an image](x.png)<br>
        and `a*b*c` in code. <!-- a secret -->

        > [!NOTE]
        > Quoted words.

        ```python
        def f(*args, **kwargs):
            return args  # *not* bold

        ```
        | a | b |
        |---|---|
        | 1 | 2 |

        [ref]: https://example.com
        """,
    ).text
    assert text == (
        "Some bold and soft words, a link, an image\nand `a*b*c` in code.\n\n"
        "Quoted words.\n\n"
        "    def f(*args, **kwargs):\n        return args  # *not* bold\n\n"
        "| a | b |\n| 1 | 2 |"
    )


def test_restructuredtext_shows_what_the_rendered_page_would():
    text = read(
        "a.rst",
        """
        Title
        =====

        .. toctree::
           :maxdepth: 2

           hidden

        Use :class:`~asyncio.TaskGroup` or :func:`the call <asyncio.run>`, ``code`` and **strong**
        words [1]_, see `the docs <https://example.com>`_.

        .. note:: This stays. It is wrapped
           over two lines.

        .. versionadded:: 3.11

        For example::

            async def main():
                await work(*args)

        .. a comment
           that nobody sees
        """,
    ).text
    assert text == (
        "Title\n\n"
        "Use TaskGroup or the call, `code` and strong words, see the docs.\n\n"
        "This stays. It is wrapped over two lines.\n\n"
        "Added in version 3.11.\n\n"
        "For example:\n\n"
        "    async def main():\n        await work(*args)"
    )


def test_html_shows_the_visible_words_of_the_main_content_alone():
    body = "The visible sentence of this page, long enough to be its main content. " * 4
    text = read(
        "a.html",
        f"""<html><head><style>p {{}}</style><script>evil("<p>script</p>")</script></head><body>
        <nav>Menu</nav><div role="navigation">More menu</div>
        <main><h1>Title<a class="headerlink">¶</a></h1><p>{body}</p>
        <p hidden>hidden <b>by attribute</b></p><p style="display: none">hidden by style</p>
        <ul><li>one<li>two</ul><pre>x = 1
  y</pre><p>a<br>b &amp; c</p><table><tr><td>1<td>2</table></main>
        <footer>Imprint</footer></body></html>""",
    ).text
    assert text == f"Title\n\n{body.strip()}\n\n- one\n- two\n\n    x = 1\n      y\n\na\nb & c\n\n| 1 | 2 |"


@pytest.mark.parametrize("residue", ["<a ", "<!--", "<p", "<div>", "</b>", "&#", "<b><p>"])
def test_html_that_never_ends_its_tags_keeps_the_words_before_and_is_read_in_linear_time(residue: str):
    started = perf_counter()
    assert read("a.html", "<p>Words.</p>" + residue * 20_000).text.startswith("Words.")
    assert perf_counter() - started < _LINEAR_S


@pytest.mark.parametrize("residue", ["[", "*a **b ", "> ", "`", "- ", "> - ", "- \n", "![[", "<a", "a | b\n|-\n", "_"])
def test_markdown_that_never_ends_its_marks_keeps_the_words_before_and_is_read_in_linear_time(residue: str):
    started = perf_counter()
    assert read("a.md", "Words.\n\n" + residue * 5_000).text.startswith("Words.")
    assert perf_counter() - started < _LINEAR_S


def test_items_keep_their_number_and_stand_below_each_other():
    text = read("a.md", "To do:\n\n3. first\n4. second\n\n   its second paragraph\n\n   - inner\n\nDone.").text
    assert text == "To do:\n\n3. first\n4. second\n\nits second paragraph\n\n- inner\n\nDone."


def test_html_within_markdown_shows_what_a_browser_would():
    hidden = "<div style='display:none'>\n\nHidden.\n\n</div>"
    assert read("a.md", f"Shown.\n\n{hidden}\n\n<details>Also shown.</details>").text == "Shown.\n\nAlso shown."


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\xef\xbb\xbfplain", "plain"),
        ("zwölf Boxkämpfer jagen Viktor".encode("latin-1"), "zw�lf Boxk�mpfer jagen Viktor"),
        ("wide".encode("utf-16"), "wide"),
        (b"\x89PNG\r\n\x00\x00", None),
        (bytes(range(128, 200)), None),
        (b"", ""),
    ],
)
def test_bytes_are_read_as_utf8_and_binary_ones_not_at_all(data: bytes, text: str | None):
    assert decode(data) == text


@given(st.sampled_from(["a.md", "a.rst", "a.txt", "a.html"]), st.text() | st.binary())
def test_no_file_is_too_strange_to_be_read_or_passed_over(name: str, content: str | bytes):
    document = read_document(name, content.encode("utf-8", "replace") if isinstance(content, str) else content)
    assert document is None or (document.text.strip() and document.title)
