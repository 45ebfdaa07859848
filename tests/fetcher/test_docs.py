"""The tool `docs` over a folder: real files, a real index."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.fetcher.documents.corpus import MAX_BYTES
from services.fetcher.findings.tool import Hit, Search, Tool
from services.fetcher.tools.docs import Docs
from shared.errors import Terminal, Transient

LEASE = "A lease is a lock that expires. Whoever holds it must renew it in time, or another takes it."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "handbook"
    (folder / "guide").mkdir(parents=True)
    (folder / "guide" / "leases.md").write_text(f"# Leases\n\n{LEASE}\n")
    (folder / "queues.rst").write_text("Queues\n======\n\nA work queue hands each message to one consumer.\n")
    (folder / "pricing.html").write_text("<title>Pricing</title><p>Every seat costs ten euros a month.</p>")
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def search(tool: Tool, query: str, limit: int = 5) -> list[Hit]:
    return asyncio.run(tool.search(Search(query=query, limit=limit)))


def locations(tool: Tool, query: str, limit: int = 5) -> list[str]:
    return [hit.location for hit in search(tool, query, limit)]


def test_a_question_finds_the_document_that_answers_it(folder: Path, cache: Path):
    (hit,) = search(Docs(folder, cache), "What happens when a lease expires?")
    assert (hit.title, hit.location) == ("Leases", "handbook/guide/leases.md")
    assert hit.passages[0].text == f"Leases\n\n{LEASE}"


def test_what_no_document_is_about_finds_nothing(folder: Path, cache: Path):
    assert search(Docs(folder, cache), "capital of France") == []
    assert search(Docs(folder, cache), "???") == []


def test_a_name_that_is_no_name_elsewhere_is_looked_for_as_it_stands(folder: Path, cache: Path):
    (folder / "with.txt").write_text("The with statement calls what closes a file.")
    (folder / "other.txt").write_text("A statement with a statement is a statement about a statement.")
    docs = Docs(folder, cache)
    assert locations(docs, "with statement", 1) == ["handbook/with.txt"]
    assert locations(docs, "a statement", 1) == ["handbook/other.txt"]


def test_words_are_found_in_any_inflection_and_within_names(folder: Path, cache: Path):
    (folder / "names.txt").write_text("Call openTaskGroup before anything else. 我们在东京吃寿司。")
    docs = Docs(folder, cache)
    assert locations(docs, "expiring locks") == ["handbook/guide/leases.md"]
    assert locations(docs, "task group") == ["handbook/names.txt"]
    assert locations(docs, "寿司") == ["handbook/names.txt"]


def test_invisible_characters_of_a_document_are_left_out_and_counted(folder: Path, cache: Path):
    (folder / "poisoned.md").write_text("A zep\u200bpelin flies\U000e0041\U000e0042.")
    (hit,) = search(Docs(folder, cache), "zeppelin")
    assert (hit.text, hit.stripped) == ("A zeppelin flies.", ("3 invisible characters",))


def test_a_document_with_all_of_the_query_goes_first(folder: Path, cache: Path):
    (folder / "much.txt").write_text("Leases, leases, leases. " * 20)
    (folder / "both.txt").write_text("A long story about many other things first. " * 10 + "Then renew the lease.")
    assert locations(Docs(folder, cache), "renew lease", limit=2) == ["handbook/guide/leases.md", "handbook/both.txt"]


def test_copies_of_one_text_are_one_source(folder: Path, cache: Path):
    (folder / "copy.md").write_text((folder / "guide" / "leases.md").read_text())
    assert len(search(Docs(folder, cache), "lease")) == 1


def test_at_most_limit_documents_are_found(folder: Path, cache: Path):
    for number in range(10):
        (folder / f"{number}.txt").write_text(f"Lease number {number}.")
    assert len(search(Docs(folder, cache), "lease", limit=3)) == 3


def test_a_file_changed_added_or_removed_on_disk_is_searched_anew(folder: Path, cache: Path):
    docs = Docs(folder, cache)
    assert locations(docs, "zeppelin") == []
    (folder / "new.md").write_text("# Airships\n\nThe zeppelin has landed.")
    assert locations(docs, "zeppelin") == ["handbook/new.md"]
    (folder / "new.md").write_text("# Airships\n\nThe balloon has landed.")
    assert (locations(docs, "zeppelin"), locations(docs, "balloon")) == ([], ["handbook/new.md"])
    (folder / "new.md").unlink()
    assert locations(docs, "balloon") == []


def test_what_is_hidden_binary_too_large_or_outside_is_not_read(folder: Path, cache: Path, tmp_path: Path):
    (tmp_path / "secret.md").write_text("The zeppelin is secret.")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret.md").write_text("The zeppelin is secret.")
    (folder / ".git").mkdir()
    (folder / ".git" / "a.md").write_text("zeppelin")
    (folder / ".hidden.md").write_text("zeppelin")
    (folder / "binary.txt").write_bytes(b"zeppelin\0zeppelin")
    (folder / "large.txt").write_text("zeppelin " * (MAX_BYTES // 9 + 1))
    (folder / "zeppelin.py").write_text("zeppelin")
    (folder / "outside.md").symlink_to(tmp_path / "secret.md")
    (folder / "elsewhere").symlink_to(tmp_path / "elsewhere")
    (folder / "dangling.md").symlink_to(tmp_path / "nowhere.md")
    assert search(Docs(folder, cache), "zeppelin") == []


def test_a_folder_that_is_missing_fails_the_search_and_is_named(tmp_path: Path):
    docs = Docs(tmp_path / "nowhere", tmp_path / "cache")
    with pytest.raises(Terminal, match="nowhere") as caught:
        search(docs, "anything")
    assert caught.value.code == "docs_folder_missing"


def test_a_folder_without_a_readable_document_fails_the_search_and_is_named(tmp_path: Path):
    (tmp_path / "void").mkdir()
    (tmp_path / "void" / "binary.txt").write_bytes(b"\0")
    with pytest.raises(Terminal, match="void") as caught:
        search(Docs(tmp_path / "void", tmp_path / "cache"), "anything")
    assert caught.value.code == "docs_folder_empty"


def test_a_damaged_index_is_built_anew(folder: Path, cache: Path):
    docs = Docs(folder, cache)
    assert search(docs, "lease")
    (index,) = cache.iterdir()
    for damage in (b"", b"no database", index.read_bytes()[:4_096] + b"\xff" * 20_000):
        index.write_bytes(damage)
        assert locations(docs, "lease") == ["handbook/guide/leases.md"]


def test_a_cache_that_cannot_be_written_is_a_transient_fault(folder: Path, tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Transient, match="file") as caught:
        search(Docs(folder, tmp_path / "file"), "lease")
    assert caught.value.code == "docs_index"


SEARCHING = """
import asyncio, sys
from pathlib import Path
from services.fetcher.findings.tool import Search
from services.fetcher.tools.docs import Docs
sys.stdin.read(1)
found = asyncio.run(Docs(Path(sys.argv[1]), Path(sys.argv[2])).search(Search(query="lease", limit=1)))
print(found[0].location)
"""


def test_processes_that_build_the_index_at_once_leave_one_whole_index(folder: Path, cache: Path):
    for number in range(200):
        (folder / f"filler{number}.txt").write_text(f"Something else, number {number}. " * 50)
    command = [sys.executable, "-c", SEARCHING, str(folder), str(cache)]
    started = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for process in started:
        assert process.stdin
        process.stdin.write("!")
        process.stdin.flush()
    assert [process.communicate()[0] for process in started] == ["handbook/guide/leases.md\n"] * 3
    (index,) = cache.iterdir()
    with closing(sqlite3.connect(index)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_what_a_killed_builder_left_behind_is_swept_away(folder: Path, cache: Path):
    docs = Docs(folder, cache)
    search(docs, "lease")
    (index,) = cache.iterdir()
    left = cache / f"{index.stem}-abc.building"
    left.write_text("half an index")
    os.utime(left, (0, 0))
    (folder / "new.txt").write_text("Something new.")
    search(docs, "lease")
    assert list(cache.iterdir()) == [index]


def test_searches_at_once_do_not_block_the_loop_and_all_answer(folder: Path, cache: Path):
    async def all_at_once() -> tuple[list[list[Hit]], int]:
        docs = Docs(folder, cache)
        searches = asyncio.gather(*(docs.search(Search(query="lease", limit=1)) for _ in range(20)))
        turns = 0
        while not searches.done():
            turns += 1
            await asyncio.sleep(0)
        return await searches, turns

    found, turns = asyncio.run(all_at_once())
    assert all(len(hits) == 1 for hits in found)
    assert turns > 20


@given(
    query=st.text(st.sampled_from("\"*^:+-(){}[]\\'%;, NEAR AND OR NOT lease title\0é寿"), min_size=1)
    | st.text(min_size=1)
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_query_is_read_as_syntax(folder: Path, cache: Path, query: str):
    search(Docs(folder, cache), query)


PIECES = st.sampled_from(
    ["lease ", "\n", "\n\n", "# Heading\n", "- item\n", "    code\n", "`x` ", "**b** ", "word " * 90, "é寿 "]
)


@given(
    files=st.dictionaries(
        st.sampled_from(["a.md", "b.rst", "c.txt", "d.html"]),
        st.lists(PIECES | st.text(max_size=20)).map("".join),
        min_size=1,
    )
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_passage_stands_verbatim_at_its_place(tmp_path_factory: pytest.TempPathFactory, files: dict[str, str]):
    folder = tmp_path_factory.mktemp("files")
    for name, text in files.items():
        (folder / name).write_bytes(text.encode("utf-8", "replace"))
    (folder / "lease.txt").write_text("A lease.")
    for hit in search(Docs(folder, tmp_path_factory.mktemp("cache")), "a lease"):
        assert 1 <= len(hit.passages) <= 3
        assert sum(len(passage.text) for passage in hit.passages) <= 2_400
        assert all(hit.text.startswith(passage.text, passage.start) for passage in hit.passages)


def test_an_index_of_an_older_format_is_built_anew_and_nothing_of_it_stays_on_the_disk(folder: Path, cache: Path):
    docs = Docs(folder, cache)
    assert search(docs, "lease")
    (index,) = cache.iterdir()
    with closing(sqlite3.connect(index)) as db, db:
        db.execute("UPDATE corpus SET state = '2 ' || substr(state, instr(state, ' ') + 1)")
        db.execute("UPDATE document SET text = text || ' hunter2-example-secret'")
    assert b"hunter2-example-secret" in index.read_bytes()
    assert all("hunter2" not in hit.text for hit in search(docs, "lease"))
    assert b"hunter2-example-secret" not in b"".join(path.read_bytes() for path in cache.iterdir())
