"""The files in `docs/reference/` are those that the code generates."""

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest
from msgspec import Struct

from shared import contracts
from tests.docs.reference import PAGES
from tests.docs.reference.errors import codes


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_the_reference_is_current(path: Path):
    assert path.read_text(encoding="utf-8") == PAGES[path](), "The code has changed: run `make docs`."


def test_nothing_else_is_in_the_reference():
    folder = next(iter(PAGES)).parent
    assert set(folder.iterdir()) == set(PAGES)


def test_every_stored_type_is_in_the_reference():
    modules = (import_module(f"shared.contracts.{each.name}") for each in iter_modules(contracts.__path__))
    structs = {
        each
        for module in modules
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, Struct) and each.__struct_config__.tag
    }
    pages = "\n".join(path.read_text(encoding="utf-8") for path in PAGES if path.name == "facts.md")
    missing = {each.__name__ for each in structs if f"### {each.__name__}\n" not in pages}
    assert structs
    assert {name for name in missing if not name.startswith("_")} == set()


def test_codes_are_found_in_the_code_however_they_are_written():
    assert {"not_held", "interrupted", "encrypted", "<tool>_timeout", "context_length_exceeded"} <= codes()
