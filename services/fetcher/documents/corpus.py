"""Sources of documents: the protocol, and a folder of files."""

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final, Protocol

from services.fetcher.documents.text import SUFFIXES, Document, read_document
from shared.errors import Terminal

MAX_BYTES: Final = 5 * 1024 * 1024
"""Size in bytes over which a file is not read."""


class Corpus(Protocol):
    """A set of documents that can be read again when it changes. All methods block."""

    @property
    def key(self) -> str:
        """File name of its index without suffix: equal for the same corpus in every process."""
        ...

    def state(self) -> str:
        """Return a fingerprint that changes with the documents. Raises `Terminal` if the corpus is missing."""
        ...

    def documents(self) -> Iterator[Document]:
        """Yield every document once."""
        ...


class Folder:
    """The .md, .rst, .txt and .html files of a folder and its subfolders, as they are now.

    Hidden files and folders, files over `MAX_BYTES`, binary files, linked folders, and links to files outside are left
    out: a run reads nothing but this folder.
    """

    def __init__(self, path: Path) -> None:
        self._root = path.resolve()

    @property
    def key(self) -> str:
        """A hash of the resolved path."""
        return f"folder-{sha256(os.fsencode(self._root)).hexdigest()[:24]}"

    def state(self) -> str:
        """Return a hash of path, time and size of each file; opens none. Raises `Terminal` (`docs_folder_missing`)."""
        if not self._root.is_dir():
            raise Terminal("docs_folder_missing", f"The folder of documents {self._root} does not exist.")
        digest = sha256()
        for path, stat in self._files():
            digest.update(os.fsencode(path) + f"\0{stat.st_mtime_ns}\0{stat.st_size}\n".encode())
        return digest.hexdigest()

    def documents(self) -> Iterator[Document]:
        """Yield each readable file, located at `<folder>/<path within it>`. Raises `Terminal` (`docs_folder_empty`) if
        there is none.
        """
        found = False
        for path, _ in self._files():
            document = _read(path, f"{self._root.name}/{path.relative_to(self._root).as_posix()}")
            if document:
                found = True
                yield document
        if not found:
            raise Terminal(
                "docs_folder_empty",
                f"The folder of documents {self._root} has no readable {', '.join(sorted(SUFFIXES))} file.",
            )

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        """Yield each file that may be read, with its status, in the order of paths."""
        for folder, subfolders, names in os.walk(self._root):
            subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
            for name in sorted(names):
                path = Path(folder, name)
                if path.suffix.lower() in SUFFIXES and not name.startswith("."):
                    stat = self._stat(path)
                    if stat:
                        yield path, stat

    def _stat(self, path: Path) -> os.stat_result | None:
        """Return the status of a file that may be read; `None` for others and for files that disappear."""
        try:
            if path.is_symlink() and not path.resolve().is_relative_to(self._root):
                return None
            stat = path.stat()
        except OSError:
            return None
        return stat if path.is_file() and stat.st_size <= MAX_BYTES else None


def _read(path: Path, location: str) -> Document | None:
    """Read one file; `None` if it cannot be opened or has no text."""
    try:
        return read_document(location, path.read_bytes())
    except OSError:
        return None
