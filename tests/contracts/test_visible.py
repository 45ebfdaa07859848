"""The table of invisible characters is whole, and each of its users treats every class as it states."""

import re
import sys
from collections.abc import Callable
from unicodedata import category

import pytest

from services.cli.shell.terminal import printable
from services.fetcher.documents.prose import tidy
from services.fetcher.findings.invisible import visible
from services.notifier.message import one_line
from shared.contracts import visible as table
from shared.contracts.evidence import Report
from shared.contracts.markdown import markdown
from shared.contracts.visible import invisible, name_invisible, visible_line

CLASSES = {
    name: getattr(table, name)
    for name in (
        "CONTROLS",
        "SEPARATORS",
        "DIRECTIONS",
        "FORMATS",
        "JOINERS",
        "SELECTORS",
        "TAGS",
        "FILLERS",
        "SURROGATES",
        "PRIVATE_USE",
    )
}
EVERY = [*map(chr, range(sys.maxunicode + 1))]
WITH_SHAPE = re.compile("[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd]")
"""Format characters that are seen: signs before Arabic, Syriac and Kaithi numbers and letters."""


def members(*names: str) -> set[str]:
    pattern = re.compile("[" + "".join(CLASSES[name] for name in names) + "]")
    return {character for character in EVERY if pattern.match(character)}


INVISIBLE = members(*(name for name in CLASSES if name != "PRIVATE_USE"))
SPACES = {character for character in INVISIBLE if character.isspace()}


def test_no_character_is_in_two_classes():
    assert sum(len(members(name)) for name in CLASSES) == len(members(*CLASSES))


def test_every_control_format_separator_surrogate_and_private_character_is_in_the_table():
    unseen = {each for each in EVERY if category(each) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}}
    shaped = {each for each in unseen if WITH_SHAPE.match(each)}
    assert unseen - shaped - members(*CLASSES) == set()
    assert shaped & members(*CLASSES) == set()


def test_no_letter_mark_or_symbol_with_a_shape_is_in_the_table():
    known = members("FILLERS", "SELECTORS")
    others = {each for each in members(*CLASSES) - known if category(each)[0] not in "CZ"}
    assert others == set()


def test_a_pattern_matches_its_classes_without_those_that_are_kept():
    pattern = invisible(table.CONTROLS + table.JOINERS, keep="\t" + table.JOINERS)
    assert {each for each in EVERY if pattern.match(each)} == members("CONTROLS") - {"\t"}


SOME_PRIVATE = {each for each in members("PRIVATE_USE") if ord(each) % 257 == 0}
"""Of 137,468 alike, enough to see how they are treated."""


def treated(change: Callable[[str], str]) -> dict[str, str]:
    """Each character of the table that `change` does not keep between two letters, with what stands there instead."""
    results = {each: change(f"a{each}b") for each in INVISIBLE | SOME_PRIVATE}
    return {each: text[1:-1] for each, text in results.items() if text != f"a{each}b"}


@pytest.mark.parametrize(
    "change",
    [
        visible_line,
        lambda text: one_line(text, 100),
        lambda text: markdown(text, Report((), (), "offline")).split("\n")[0].removeprefix("# "),
    ],
    ids=["visible_line", "notifications", "markdown"],
)
def test_a_line_loses_every_invisible_character_and_white_space_is_one_space(change: Callable[[str], str]):
    assert treated(change) == {each: " " if each in SPACES else "" for each in INVISIBLE}


def test_evidence_loses_every_invisible_character_but_tabs_and_line_breaks():
    kept = {*"\t\n\r", *members("SEPARATORS")}
    assert treated(lambda text: visible(text).text) == dict.fromkeys(INVISIBLE - kept, "")


def test_a_document_loses_every_invisible_character_that_no_script_needs():
    kept = members("JOINERS", "SELECTORS")
    tidied = treated(tidy)
    assert tidied.keys() == INVISIBLE - kept - {"\n"}
    assert all(text in {"", "\n"} or character == "\t" for character, text in tidied.items())


@pytest.mark.parametrize("change", [name_invisible, printable], ids=["desk", "terminal"])
def test_shown_text_names_every_invisible_character_that_honest_text_does_without(change: Callable[[str], str]):
    kept = {*"\t\n\u00ad", *members("JOINERS"), *table.EMOJI_STYLES}
    named = INVISIBLE | SOME_PRIVATE
    assert treated(change) == {each: f"⟨U+{ord(each):04X}⟩" for each in named - kept}
