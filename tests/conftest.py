"""Spreads the suite over processes, and reports the time of each folder."""

import asyncio
import gc
from collections import Counter
from functools import cache
from os import sched_getaffinity
from pathlib import Path

import pytest
from _pytest.terminal import TerminalReporter
from xdist.scheduler import LoadScopeScheduling

from services.fetcher.findings.tool import Search
from services.fetcher.tools.docs import Docs
from shared.runtime import clock
from tests import virtual
from tests.harness import programs
from tests.harness.environment import ROOT
from tests.harness.once import made_once


def pytest_configure() -> None:
    """Fork the services and the command line instead of starting an interpreter for each."""
    programs.fork_modules()


def pytest_collection_finish() -> None:
    """Do not search what was imported and collected for reference cycles again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, dict[str, object]]:
    """Every test that is a coroutine runs in a new event loop of asyncio, in virtual time if it is marked so."""
    if request.node.get_closest_marker("virtual_time") is None:
        return "asyncio", {}
    monkeypatch.setattr(clock, "now", virtual.now)
    return "asyncio", {"loop_factory": virtual.VirtualLoop}


@pytest.fixture(scope="session")
def python_docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of the tool `docs` with the index of Python's own documentation; for reading."""

    def index(folder: Path) -> None:
        asyncio.run(Docs(None, folder).search(Search(query="index", limit=1)))

    return made_once(tmp_path_factory, "python-docs", index)


class BySharedFixture(LoadScopeScheduling):
    """Tests that share a fixture run in one process, so that it is set up once; all others are spread one by one."""

    def _split_scope(self, nodeid: str) -> str:
        """The unit of work that a test belongs to."""
        return _sharing(nodeid.partition("::")[0]) or nodeid


@cache
def _sharing(file: str) -> str | None:
    """The folder or file whose tests share fixtures; `None` for a file whose tests share nothing."""
    path = ROOT / file
    fixtures = path.read_text() + _text_of(path.with_name("conftest.py"))
    if 'scope="package"' in fixtures:
        return str(Path(file).parent)
    return file if 'scope="module"' in fixtures else None


def _text_of(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def pytest_xdist_auto_num_workers() -> int:
    """Half as many processes again as there are cores: tests wait as well."""
    return len(sched_getaffinity(0)) * 3 // 2


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> BySharedFixture:
    """Decide which process runs which tests."""
    return BySharedFixture(config, log)  # type: ignore[arg-type]


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Print how many seconds the tests of each folder took, the slowest folder first."""
    seconds = Counter[str]()
    for report in (each for reports in terminalreporter.stats.values() for each in reports):
        if isinstance(report, pytest.TestReport):
            seconds["/".join(report.nodeid.split("/")[:2])] += report.duration
    terminalreporter.section("seconds by folder")
    for folder, took in seconds.most_common():
        terminalreporter.write_line(f"{took:8.1f}  {folder}")
