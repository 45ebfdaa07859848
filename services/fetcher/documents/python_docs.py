"""The documentation that every Python brings along: its docstrings and the topics of its language reference.

A process of its own collects them (`python_strings.py`); here they are made into documents.
"""

import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

from services.fetcher.documents import python_strings
from services.fetcher.documents.prose import CODE_MARGIN
from services.fetcher.documents.rst import rst_text
from services.fetcher.documents.text import Document
from shared.errors import Transient

RENDERER: Final = 1
"""To be raised when the documents made of the same strings become others."""
_TIMEOUT_S: Final = 60
_SUBSTANTIAL: Final = 300
"""Characters of docstrings from which a class or function is a document of its own."""
_SHORT: Final = 80
_HEADING: Final = re.compile(r"^\S.*\n(?:\*{3,}|={3,}|-{3,}|~{3,}|\^{3,}|\"{3,})$", re.MULTILINE)
_FOOTNOTE_MARK: Final = re.compile(r"(?<=[\w.,;:)\"])\s\[\d+\](?=[\s.,]|$)")
_SECTION: Final = re.compile(f"(?={_HEADING.pattern})", re.MULTILINE)


class Member(Struct, frozen=True):
    """A class, function, method or property."""

    kind: Literal["class", "function", "method", "property"]
    name: str
    signature: str
    doc: str
    members: tuple["Member", ...]


class Module(Struct, frozen=True):
    """A module and its public members."""

    name: str
    doc: str
    members: tuple[Member, ...]


class Strings(Struct, frozen=True):
    """All that a Python says of itself."""

    modules: tuple[Module, ...]
    topics: dict[str, str]


class PythonDocs:
    """What the running Python says of its standard library and its language; the same for all who run this version."""

    @property
    def key(self) -> str:
        """After the version."""
        return f"{platform.python_implementation().lower()}-{platform.python_version()}"

    def state(self) -> str:
        """An installation does not change; how it is rendered may."""
        return f"renderer {RENDERER}"

    def documents(self) -> Iterator[Document]:
        """One document a module, a class or function that has much to say, and a topic."""
        return documents(collected(), platform.python_version())


def collected() -> Strings:
    """The strings, collected by another process, so that no import of a module touches this one. Raises `Transient`.

    That process has no environment: nothing that it imports can see a key or a password.
    """
    try:
        told = subprocess.run(  # noqa: S603  the command is ours, word for word
            [sys.executable, "-I", "-X", "utf8", str(Path(python_strings.__file__))],
            stdin=subprocess.DEVNULL,
            env={},
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=True,
        )
        return msgspec.json.decode(told.stdout, type=Strings)
    except (subprocess.SubprocessError, OSError, msgspec.DecodeError) as error:
        raise Transient("docs_python", f"Python's own documentation could not be collected: {error}.") from error


def documents(strings: Strings, version: str) -> Iterator[Document]:
    """The documents that `strings` make. Pure."""
    for module in strings.modules:
        yield from _documents(module, f"Python {version} documentation strings")
    for name, topic in _distinct(strings.topics):
        title, text = rst_text(_FOOTNOTE_MARK.sub("", topic))
        yield Document(f"{title or name} — Python {version} language reference", f"python:topic/{name}", text)


def _distinct(topics: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The topics without what they share with shorter ones: `compound` has all of `if`, `while` and `with`."""
    seen: set[str] = set()
    for name in sorted(topics, key=lambda name: (len(topics[name]), name)):
        sections = [section for section in _SECTION.split(topics[name]) if _body(section) not in seen]
        seen.update(map(_body, sections))
        if any(map(_body, sections)):
            yield name, "\n\n".join(sections)


def _body(section: str) -> str:
    """A section without its heading, which is underlined according to where it stands."""
    return " ".join(_HEADING.sub("", section).split())


def _documents(module: Module, source: str) -> Iterator[Document]:
    small: list[str] = []
    for member in module.members:
        name = member.name if module.name == "builtins" else f"{module.name}.{member.name}"
        entry = "\n\n".join(_entries(name, member))
        if len(entry) >= _SUBSTANTIAL:
            yield Document(f"{name} — {source}", f"python:{name}", entry)
        elif entry:
            small.append(entry)
    text = "\n\n".join([*_entry(module.name, "", module.doc), *small])
    if text:
        yield Document(f"{module.name} — {source}", f"python:{module.name}", text)


def _entries(name: str, member: Member) -> Iterator[str]:
    yield from _entry(name, member.signature, member.doc)
    for inner in member.members:
        yield from _entry(f"{name}.{inner.name}", inner.signature, inner.doc)


def _entry(name: str, signature: str, doc: str) -> Iterator[str]:
    """A docstring that begins with what it is about, so that its first sentence can stand alone.

    "Create a new task in this group" does not say which group; "asyncio.TaskGroup.create_task(coro):
    Create a new task in this group" does.
    """
    _, text = rst_text(doc)
    if not text:
        return
    signature = signature.replace("(self, ", "(").replace("(self)", "()").replace("(/)", "()")
    is_short = len(name + signature) <= _SHORT
    head = name + signature if is_short else name
    yield f"{head}\n\n{text}" if text.startswith(CODE_MARGIN) else f"{head}: {text}"
    if not is_short:
        yield f"Signature: {name}{signature}"
