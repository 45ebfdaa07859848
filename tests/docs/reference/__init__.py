"""The pages in `docs/reference/` that are generated from the code: `python -m tests.docs.reference` writes them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tests.contracts.documents import DOCUMENTS as DESCRIPTIONS
from tests.contracts.documents import written
from tests.docs.reference import commands, errors, facts, http, settings, subjects
from tests.harness.environment import ROOT

_FOLDER: Final = ROOT / "docs" / "reference"

PAGES: Final[Mapping[Path, Callable[[], str]]] = {
    _FOLDER / "settings.md": settings.document,
    _FOLDER / "commands.md": commands.document,
    _FOLDER / "http.md": http.document,
    _FOLDER / "subjects.md": subjects.document,
    _FOLDER / "facts.md": facts.document,
    _FOLDER / "errors.md": errors.document,
    **{path: lambda generate=generate: written(generate()) for path, generate in DESCRIPTIONS.items()},
}
"""Each generated file, and the function that returns its text."""
