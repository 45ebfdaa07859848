"""Spreads the suite over processes, and reports the time of each folder."""

from collections import Counter
from collections.abc import Iterator

import pytest
from _pytest.terminal import TerminalReporter

from tests.harness import programs

_FOLDER_WIDE = ("package", "session")


def pytest_configure() -> None:
    """Fork the services and the command line instead of starting an interpreter for each."""
    programs.fork_modules()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Every test that is a coroutine runs in a new event loop of asyncio."""
    return "asyncio"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put tests that share a fixture into one group, which runs in one process, so that it is set up once."""
    for item in items:
        if isinstance(item, pytest.Function) and (places := list(_shared_in(item))):
            item.add_marker(pytest.mark.xdist_group(min(places, key=len)))


def _shared_in(item: pytest.Function) -> Iterator[str]:
    """The folder or file in which each fixture of this test that outlives it is shared; nothing for those of all."""
    own = item.nodeid.partition("::")[0]
    for fixtures in item._fixtureinfo.name2fixturedefs.values():
        fixture = fixtures[-1]
        if fixture.baseid not in ("", "tests") and fixture.scope != "function":
            yield fixture.baseid if fixture.scope in _FOLDER_WIDE else own


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Print how many seconds the tests of each folder took, the slowest folder first."""
    seconds = Counter[str]()
    for report in (each for reports in terminalreporter.stats.values() for each in reports):
        if isinstance(report, pytest.TestReport):
            seconds["/".join(report.nodeid.split("/")[:2])] += report.duration
    terminalreporter.section("seconds by folder")
    for folder, took in seconds.most_common():
        terminalreporter.write_line(f"{took:8.1f}  {folder}")
