"""Full-text index of a corpus: one SQLite file in the cache, rebuilt when the corpus changes.

An index is written to a file of its own, renamed into place and never written again. So any number of processes may
build and read it at once, and each reads a complete index.
"""

import math
import os
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import Final

from services.fetcher.documents.corpus import Corpus
from services.fetcher.documents.text import Document
from services.fetcher.findings import invisible
from services.fetcher.findings.passages import Window, quality, split_windows
from services.fetcher.findings.query import fts_expression, indexable_text, query_terms
from services.fetcher.findings.ranking import Match, Selection, rank_documents, select_matches
from services.fetcher.findings.tool import Hit
from shared.contracts.evidence import Passage
from shared.errors import Transient

FORMAT: Final = 4
"""Version of the index. Raise it when the indexed content or the reading of files changes: every index
is then rebuilt.
"""
_SCHEMA: Final = """
    CREATE TABLE corpus (state TEXT);
    CREATE TABLE document (id INTEGER PRIMARY KEY, title TEXT, location TEXT, text TEXT, invisible INTEGER);
    CREATE TABLE piece (id INTEGER PRIMARY KEY, document INTEGER, start INTEGER, stop INTEGER, worth REAL);
    CREATE VIRTUAL TABLE words USING fts5(title, body, content='', tokenize='porter unicode61 remove_diacritics 2');
"""
_CANDIDATES: Final = 200
_BEST: Final = """
    SELECT piece.id, document, start, stop, -words.rank * worth FROM words JOIN piece ON piece.id = words.rowid
    WHERE words MATCH ? AND words.rank MATCH 'bm25(4.0, 1.0)' ORDER BY words.rank LIMIT ?
"""
_HAVING: Final = "SELECT rowid FROM words WHERE words MATCH ? AND rowid IN (SELECT value FROM json_each(?))"
_ABANDONED_S: Final = 3_600


class Index:
    """Searches one corpus. Blocks. Raises `Terminal` for a missing corpus and `Transient` for an index that cannot be
    built.
    """

    def __init__(self, corpus: Corpus, cache: Path) -> None:
        self._corpus = corpus
        self._path = cache / f"{corpus.key}.sqlite"

    def search(self, query: str, *, limit: int) -> list[Hit]:
        """Return at most `limit` documents that answer `query`, best first, in the corpus as it is now.

        An index that is absent, outdated or damaged is built first.
        """
        state = f"{FORMAT} {self._corpus.state()}"
        try:
            if self._indexed_state() != state:
                self._build(state)
            return self._find(query, limit)
        except (sqlite3.Error, OSError):
            return self._rebuild_and_search(state, query, limit)

    def _rebuild_and_search(self, state: str, query: str, limit: int) -> list[Hit]:
        """Build the index, and search. Raise `Transient` (`docs_index`) if it cannot be built or read."""
        try:
            self._build(state)
            return self._find(query, limit)
        except (sqlite3.Error, OSError) as error:
            raise Transient("docs_index", f"The index {self._path} cannot be built or read: {error}.") from error

    def _indexed_state(self) -> str | None:
        """Return the indexed state of the corpus; `None` without an index, or with an incomplete one."""
        if not self._path.is_file():
            return None
        with closing(self._open()) as db:
            row = db.execute("SELECT state FROM corpus").fetchone()
        return row[0] if row else None

    def _find(self, query: str, limit: int) -> list[Hit]:
        """Return the best documents for the query, without copies."""
        with closing(self._open()) as db:
            matches, weights = _matches(db, query_terms(query))
            return list(islice(_distinct(_to_hit(db, chosen) for chosen in rank_documents(matches, weights)), limit))

    def _open(self) -> sqlite3.Connection:
        # The file is replaced, never written, which `immutable` says: so no locks, and a read-only cache will do.
        """Open the index read-only."""
        return sqlite3.connect(f"{self._path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)

    def _build(self, state: str) -> None:
        """Write an index beside the current one and rename it into place."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f"{self._path.stem}-", suffix=".building", dir=self._path.parent)
        os.close(descriptor)
        new = Path(name)
        try:
            self._sweep(new)
            with closing(sqlite3.connect(new)) as db:
                _index_documents(db, state, self._corpus.documents())
            new.replace(self._path)
        finally:
            new.unlink(missing_ok=True)

    def _sweep(self, new: Path) -> None:
        """Remove files of builders that were killed over an hour before `new` was made."""
        for left in new.parent.glob(f"{self._path.stem}-*.building"):
            with suppress(OSError):
                if left.stat().st_mtime < new.stat().st_mtime - _ABANDONED_S:
                    left.unlink()


def quote_documents(documents: Sequence[Document], query: str) -> list[tuple[Passage, ...]]:
    """Return for each document the passages that answer `query` best; its beginning if none does. Blocks.

    The documents are ranked among each other, in an index in memory.
    """
    with closing(sqlite3.connect(":memory:")) as db:
        _index_documents(db, "", iter(documents))
        matches, weights = _matches(db, query_terms(query), at_most=_CANDIDATES * len(documents))
    of: dict[int, list[Match]] = {}
    for match in matches:
        of.setdefault(match.document, []).append(match)
    return [
        tuple(match.window.passage(document.text) for match in select_matches(of[number], weights))
        if number in of
        else tuple(window.passage(document.text) for window in islice(split_windows(document.text), 1))
        for number, document in enumerate(documents, 1)
    ]


def _index_documents(db: sqlite3.Connection, state: str, documents: Iterator[Document]) -> None:
    """Create the tables of an empty database and index all documents."""
    db.executescript(f"PRAGMA journal_mode = OFF; {_SCHEMA}")
    with db:
        db.execute("INSERT INTO corpus VALUES (?)", (state,))
        for number, document in enumerate(documents, 1):
            db.execute(
                "INSERT INTO document VALUES (?, ?, ?, ?, ?)",
                (number, document.title, document.location, document.text, document.invisible),
            )
            _index_document(db, number, document)
        db.execute("INSERT INTO words (words) VALUES ('optimize')")


def _index_document(db: sqlite3.Connection, number: int, document: Document) -> None:
    """Index the windows of one document."""
    title = indexable_text(document.title)
    for window in split_windows(document.text):
        words = document.text[window.start : window.end]
        piece = (number, window.start, window.end, quality(words))
        at = db.execute("INSERT INTO piece (document, start, stop, worth) VALUES (?, ?, ?, ?)", piece).lastrowid
        db.execute("INSERT INTO words (rowid, title, body) VALUES (?, ?, ?)", (at, title, indexable_text(words)))


def _matches(
    db: sqlite3.Connection, wanted: Sequence[str], *, at_most: int = _CANDIDATES
) -> tuple[list[Match], dict[str, float]]:
    """Return the best `at_most` windows with any of the terms, and the weight of each term by its rarity, 1 in all."""
    if not wanted:
        return [], {}
    rows = db.execute(_BEST, (" OR ".join(map(fts_expression, wanted)), at_most)).fetchall()
    ids = str([row[0] for row in rows])
    having = {term: {row[0] for row in db.execute(_HAVING, (fts_expression(term), ids))} for term in wanted}
    matches = [
        Match(document, Window(start, stop), relevance, frozenset(term for term in wanted if piece in having[term]))
        for piece, document, start, stop, relevance in rows
    ]
    return matches, _weights(db, wanted)


def _weights(db: sqlite3.Connection, wanted: Sequence[str]) -> dict[str, float]:
    """Return the weight of each term: its rarity (inverse document frequency) in this corpus, 1 in all."""
    (total,) = db.execute("SELECT count(*) FROM piece").fetchone()
    count = "SELECT count(*) FROM words WHERE words MATCH ?"
    having = {term: db.execute(count, (fts_expression(term),)).fetchone()[0] for term in wanted}
    rarity = {term: math.log(1 + (total - having[term] + 0.5) / (having[term] + 0.5)) for term in wanted}
    return {term: rarity[term] / sum(rarity.values()) for term in wanted}


def _to_hit(db: sqlite3.Connection, chosen: Selection) -> Hit:
    """Return a selected document as a search result with its passages."""
    title, location, text, unseen = db.execute(
        "SELECT title, location, text, invisible FROM document WHERE id = ?", (chosen.document,)
    ).fetchone()
    passages = tuple(window.passage(text) for window in chosen.windows)
    return Hit(title, location, text, passages, stripped=tuple(invisible.describe_removed(unseen)))


def _distinct(hits: Iterator[Hit]) -> Iterator[Hit]:
    """Yield the results whose best passage no earlier result has: a copy is no second source."""
    seen: set[str] = set()
    for hit in hits:
        if hit.passages[0].text not in seen:
            yield hit
        seen.update(passage.text for passage in hit.passages)
