"""The corpus that every Python brings along: the topics of its language reference, as `help()` shows them."""

import platform
import re
from collections.abc import Iterator, Mapping
from typing import Final

from services.fetcher.documents.rst import rst_text
from services.fetcher.documents.text import Document
from shared.errors import Terminal

_HEADING: Final = re.compile(r"^\S.*\n(?:\*{3,}|={3,}|-{3,}|~{3,}|\^{3,}|\"{3,})$", re.MULTILINE)
_FOOTNOTE_MARK: Final = re.compile(r"(?<=[\w.,;:)\"])\s\[\d+\](?=[\s.,]|$)")
_SECTION: Final = re.compile(f"(?={_HEADING.pattern})", re.MULTILINE)


class LanguageReference:
    """Corpus of the running Python's language reference. Nothing is installed, downloaded or run for it."""

    @property
    def key(self) -> str:
        """File name of the index without suffix: interpreter and version, as `cpython-3.13.1`."""
        return f"{platform.python_implementation().lower()}-{platform.python_version()}"

    def state(self) -> str:
        """Return a constant: an installed reference does not change."""
        return "language reference"

    def documents(self) -> Iterator[Document]:
        """Yield one document a topic. Raise `Terminal` with the code `docs_python` if this Python has none."""
        try:
            from pydoc_data.topics import topics
        except ImportError as error:
            raise Terminal(
                "docs_python",
                "This Python is installed without its language reference (module pydoc_data). Set DOSSIER_DOCS to a "
                "folder of documents.",
            ) from error
        return documents(topics, platform.python_version())


def documents(topics: Mapping[str, str], version: str) -> Iterator[Document]:
    """Yield a document for each topic (name to reStructuredText), shortest topic first, each section once.

    A topic without a section of its own is left out.
    """
    for name, topic in _distinct(topics):
        title, text = rst_text(_FOOTNOTE_MARK.sub("", topic))
        yield Document(f"{title or name} — Python {version} language reference", f"python:topic/{name}", text)


def _distinct(topics: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield name and text of each topic without the sections of shorter ones: `compound` has all of `if` and `with`."""
    seen: set[str] = set()
    for name in sorted(topics, key=lambda name: (len(topics[name]), name)):
        sections = [section for section in _SECTION.split(topics[name]) if _body(section) not in seen]
        seen.update(map(_body, sections))
        if any(map(_body, sections)):
            yield name, "\n\n".join(sections)


def _body(section: str) -> str:
    """Return a section on one line without its heading, whose underline depends on its level in the topic."""
    return " ".join(_HEADING.sub("", section).split())
