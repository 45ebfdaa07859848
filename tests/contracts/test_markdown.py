"""A report is one calm page, and whatever others wrote stays text on it: no link, image, heading or HTML of theirs."""

import re
from datetime import UTC, datetime, timedelta, timezone

import hypothesis.strategies as st
import pytest
from hypothesis import example, given
from markdown_it import MarkdownIt
from markdown_it.token import Token

from shared.contracts.evidence import (
    Citation,
    CitedSource,
    Claim,
    Conflict,
    Failure,
    Report,
    Searched,
    Section,
    Skipped,
)
from shared.contracts.markdown import markdown
from shared.contracts.visible import visible_line

A, B = "a" * 64, "b" * 64
ONE, OTHER = Citation(A, "It takes 27 days.", 0), Citation(B, "It takes 29 days.", 9)
FETCHED = datetime(2026, 1, 2, 4, 4, tzinfo=timezone(timedelta(hours=1)))
SOURCES = (
    CitedSource(
        1,
        A,
        "The Moon",
        "moon.test",
        "https://moon.test/a?b=c_d",
        "2025-12-31",
        FETCHED,
        "moon.test",
        ("m.test", "n.test"),
    ),
    CitedSource(2, B, "Months", "docs/months.md", origin="moon.test"),
)
WHOLE = Report(
    sections=(
        Section("", (Claim("It takes 27 days.", (ONE,), "supported"),)),
        Section("Other months", (Claim("Some take 29 days.", (OTHER, ONE), "partial", "“Some” is not in the quotes"),)),
    ),
    sources=SOURCES,
    writer="m-1",
    gaps=("weeks — no sources",),
    dropped=3,
    unsupported=(Claim("All take 30 days.", (OTHER,), "unsupported", "“30 days” is not in the quotes"),),
    conflicts=(Conflict("27 days or 29 days?", ONE, OTHER),),
    judge="m-2",
    skipped=(Skipped("https://weeks.test/", Failure("robots", "Its robots.txt asks not to.")),),
)


def test_a_report_in_full():
    assert markdown("How long is a month?", WHOLE) == (
        "# How long is a month?\n\n"
        "*Written by m-1 · 3 claims: 1 supported, 1 in part, 1 not borne out (checked by rule and by m-2)"
        " · 3 quotes dropped · 2 sources of 1 origin*\n\n"
        "It takes 27 days. [1]\n\n"
        "## Other months\n\n"
        "Some take 29 days. [2][1] *(in part: “Some” is not in the quotes)*\n\n"
        "## Sources disagree\n\n"
        "- 27 days or 29 days?\n"
        "  - “It takes 27 days.” [1]\n"
        "  - “It takes 29 days.” [2]\n\n"
        "## Not borne out\n\n"
        "- All take 30 days. [2] *(“30 days” is not in the quotes)*\n\n"
        "## Not answered\n\n"
        "- weeks — no sources\n\n"
        "## Not read\n\n"
        "- https\\://weeks.test/: Its robots.txt asks not to.\n\n"
        "## Sources\n\n"
        "1. The Moon · <https://moon.test/a?b=c_d> · 2025-12-31 · fetched 2026-01-02 03:04 UTC"
        " · same text at 2 other places · SHA-256 aaaaaaaaaaaa\n"
        "2. Months · docs/months.md · no date · SHA-256 bbbbbbbbbbbb\n"
    )


def test_an_insufficient_report_in_full():
    lacking = Report(
        (),
        SOURCES[1:],
        "m-1",
        gaps=("weeks — no sources",),
        insufficient=True,
        searched=(Searched("months", 1), Searched("weeks", 0)),
    )
    assert markdown("How long is a month?", lacking) == (
        "# How long is a month?\n\n"
        "*Read by m-1 · 1 source of 1 origin*\n\n"
        "**The evidence does not answer the question.** Nothing was written, since nothing could have been quoted.\n\n"
        "## What was searched\n\n"
        "- months: 1 source\n"
        "- weeks: 0 sources\n\n"
        "## Not answered\n\n"
        "- weeks — no sources\n\n"
        "## Sources read\n\n"
        "2. Months · docs/months.md · no date · SHA-256 bbbbbbbbbbbb\n"
    )


def said(text: str, *, where: str = "") -> Report:
    """A report in which everything that others wrote is `text`; its one source was read at `where`."""
    quote = Citation(A, text, 0)
    claim = Claim(text, (quote,), "partial", text)
    return Report(
        sections=(Section(f"{text}", (claim, claim)),),
        sources=(CitedSource(1, A, text, text, where, text, None, text, (text,)),),
        writer=f"w{text}",
        degraded=text,
        gaps=(text,),
        unsupported=(claim,),
        conflicts=(Conflict(text, quote, quote),),
        judge=text,
        insufficient=True,
        searched=(Searched(text, 1),),
        skipped=(Skipped(text, Failure("x", text)),),
    )


HOSTILE = (
    "![x](https://evil.test/?q=secret)",
    "[click](https://evil.test/)",
    "[click][1]",
    "[1]: https://evil.test/",
    "[1](https://evil.test/)",
    "<https://evil.test/>",
    "<img src=https://evil.test/>",
    "<script>alert(1)</script>",
    "<!-- hidden -->",
    "&lt;img src=x&gt;",
    "&#x202e;abc &rlm;",
    "https://evil.test/?q=secret",
    "http://evil.test www.evil.test mail@evil.test",
    "# Heading",
    "Heading\n===",
    "> quoted",
    "- item",
    "+ item",
    "* item",
    "1. item",
    "12) item",
    "---",
    "```\ncode",
    "~~~",
    "`code`",
    "**bold** _emphasis_ ~~gone~~",
    "\\[click](https://evil.test/)",
    "\\\\[click](https://evil.test/)",
    "a | b\n---|---\n<b>",
    "text\\",
    "    indented",
    "*(in part)* [2]",
    "a\u2028# b",
    "x]\n[y]: https://evil.test",
)


def tokens(text: str) -> list[Token]:
    """Every token of the page as the most generous renderer sees it: with HTML, tables and bare links."""
    renderer = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    found = renderer.parse(text)
    return [inner for token in found for inner in (token, *(token.children or ()))]


def shape(text: str) -> list[str]:
    """The page without its words."""
    return [token.type for token in tokens(text) if token.type not in ("text", "text_special", "softbreak")]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_others_wrote_is_text_and_nothing_but_text(text: str):
    page = markdown(text, said(text))
    assert shape(page) == shape(markdown("plain", said("plain")))
    assert not {"image", "link_open", "html_inline", "html_block"} & set(shape(page))
    words = "".join(token.content for token in tokens(page) if token.type in ("text", "text_special"))
    assert words.count(visible_line(text)) >= 12, "it can still be read"


@given(st.text(max_size=40) | st.lists(st.sampled_from([*"[]()!<>*_`#-+=|~&\\:/. \n1a"]), max_size=24).map("".join))
@example("**a** b")
def test_and_so_is_any_text_at_all(text: str):
    if visible_line(text):
        assert shape(markdown(text, said(text))) == shape(markdown("plain", said("plain")))


@pytest.mark.parametrize("text", HOSTILE)
def test_bare_addresses_are_not_given_to_renderers_that_link_them(text: str):
    assert not re.search(r"(?<!\\)://|www\.(?!$)|\w@\w", re.sub(r"\\[:.@]", "\\\\", markdown(text, said(text))))


@pytest.mark.parametrize(
    ("where", "linked"),
    [
        ("https://moon.test/a_b?c=d&e=(f)#g", True),
        ("http://[2001:db8::1]:8080/", True),
        ("javascript:alert(1)", False),
        ("data:text/html,x", False),
        ("https://moon.test/> ![x](https://evil.test)", False),
        ("https://moon.test/\u202egpj.exe", False),
        ("https://moon.test/a b", False),
        ("https://moon.test/\n# x", False),
        ("file:///etc/passwd", False),
    ],
)
def test_the_only_links_are_addresses_that_sources_were_read_at(where: str, linked: bool):
    page = tokens(markdown("plain", said("plain", where=where)))
    links = [token.attrs["href"] for token in page if token.type == "link_open"]
    assert len(links) == linked
    assert not any(token.type == "image" for token in page)


HIDDEN = (
    "\u200b\u200d\u2060\ufeff\u00ad\u202e\u2066\u2069\u200f\u061c\U000e0041\ufe0f\U000e0100\u3164\x1b\x00\x7f\ud800"
)


@pytest.mark.parametrize("hidden", HIDDEN, ids=lambda character: f"{ord(character):x}")
def test_what_nobody_can_see_never_reaches_a_report(hidden: str):
    assert markdown(f"a{hidden}b", said(f"a{hidden}b")) == markdown("ab", said("ab"))


def test_moments_are_told_in_one_time_zone():
    assert "fetched 2026-01-02 03:04 UTC" in markdown("q", WHOLE)
    assert FETCHED.astimezone(UTC).hour == 3
