"""The files in `docs/reference/` are those that the code generates."""

from pathlib import Path

import pytest

from tests.docs.reference import PAGES
from tests.docs.reference.errors import codes


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_the_reference_is_current(path: Path):
    assert path.read_text(encoding="utf-8") == PAGES[path](), "The code has changed: run `make docs`."


def test_nothing_else_is_in_the_reference():
    folder = next(iter(PAGES)).parent
    assert set(folder.iterdir()) == set(PAGES)


def test_codes_are_found_in_the_code_however_they_are_written():
    assert {"not_held", "interrupted", "encrypted", "<tool>_timeout", "context_length_exceeded"} <= codes()
