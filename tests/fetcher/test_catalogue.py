"""Which tools there are, who allows them, and what a service that is allowed none on the network cannot do."""

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from services.fetcher.findings.tool import Search
from services.fetcher.tools import catalogue
from services.fetcher.tools.catalogue import GROUP, Misconfigured, build_tools
from services.fetcher.tools.docs import Docs
from shared.runtime.settings import Settings
from tests.harness.environment import ROOT, inherited
from tests.harness.site import Page, Site


def settings(**how: object) -> Settings:
    return Settings(**how)  # type: ignore[arg-type]


def test_docs_is_what_is_allowed_where_nobody_says_otherwise(tmp_path: Path):
    tools = build_tools(settings(data=tmp_path))
    assert list(tools) == ["docs"]
    assert isinstance(tools["docs"], Docs)


def test_every_tool_is_made_as_the_settings_say_and_can_be_asked(tmp_path: Path):
    names = ("docs", "searxng", "wikipedia", "arxiv", "tavily", "mcp")
    how = {"searxng_url": "http://127.0.0.1:1", "tavily_key": "k", "mcp_server": "server", "mcp_tool": "find"}
    tools = build_tools(settings(data=tmp_path, tools=names, **how))
    assert tuple(tools) == names
    for name, tool in tools.items():
        assert tool.name == name
        assert tool.arguments(query="tides", limit=16).query == "tides"
        assert tool.arguments.model_json_schema()["properties"].keys() == {"query", "limit"}


@pytest.mark.parametrize(
    ("tools", "said"),
    [
        ("magic", "DOSSIER_TOOLS: unknown tool magic; available: arxiv, docs, mcp, searxng, tavily, wikipedia"),
        ("searxng", "DOSSIER_SEARXNG_URL"),
        ("tavily", "DOSSIER_TAVILY_KEY"),
        ("mcp", "DOSSIER_MCP_SERVER"),
    ],
)
def test_what_an_operator_left_out_is_said(tools: str, said: str):
    with pytest.raises(Misconfigured, match=said):
        build_tools(settings(tools=("docs", tools)))


class Theirs:
    name = "theirs"
    arguments = Search

    async def search(self, search: Search) -> list[object]:
        return []


def make_theirs(settings: Settings) -> Theirs:
    return Theirs()


def test_a_third_party_adds_a_tool_by_an_entry_point_and_cannot_take_one_of_ours(monkeypatch: pytest.MonkeyPatch):
    theirs = [EntryPoint(name, f"{__name__}:make_theirs", GROUP) for name in ("theirs", "docs")]
    monkeypatch.setattr(catalogue, "entry_points", lambda *, group: theirs if group == GROUP else [])
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    tools = build_tools(settings(tools=("docs", "theirs")))
    assert (type(tools["docs"]), type(tools["theirs"]).__name__) == (Docs, "Theirs")


def test_a_tool_that_cannot_be_loaded_is_said(monkeypatch: pytest.MonkeyPatch):
    broken = EntryPoint("broken", "nowhere.at:all", GROUP)
    monkeypatch.setattr(catalogue, "entry_points", lambda *, group: [broken])
    with pytest.raises(Misconfigured, match="broken cannot be loaded"):
        build_tools(settings(tools=("broken",)))


FETCHING = """
import asyncio, sys

reached = []

def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.sendmsg"):
        reached.append(f"{event} {arguments[1:]}")
        raise PermissionError(event)

sys.addaudithook(watch)

from contextlib import AsyncExitStack
from services.fetcher.__main__ import compose
from services.fetcher.tools.catalogue import build_tools
from shared.contracts.tasks import FetchTask
from shared.runtime.memory import MemoryLog
from shared.runtime.settings import Settings

async def main():
    settings = Settings()
    async with AsyncExitStack() as stack:
        perform = await compose(build_tools(settings), settings, MemoryLog(), stack)
        try:
            found = await perform(FetchTask("tide https://example.org/tides"))
            print([source.title for source in found.sources])
        except Exception as error:
            print(error)

asyncio.run(main())
print("reached", reached)
print("network", sorted({"httpx2", "httpcore2", "mcp", "services.fetcher.web.guard"} & set(sys.modules)))
"""


def run(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def fetching(tmp_path: Path, **how: str) -> list[str]:
    """What a fetcher says that is composed as the service is, with a watch on every socket of its process."""
    (tmp_path / "tides.md").write_text("# Tides\n\nThe tide is at https://example.org/tides for all to see.")
    environment = inherited({"DOSSIER_DOCS": str(tmp_path), "DOSSIER_DATA": str(tmp_path / "data")} | how)
    told = subprocess.run(
        [sys.executable, "-c", FETCHING],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return told.stdout.splitlines()


def test_with_docs_alone_no_code_that_reaches_the_network_is_even_there(tmp_path: Path):
    assert fetching(tmp_path) == ["['Tides']", "reached []", "network []"]


def test_that_watch_sees_a_tool_which_does(tmp_path: Path, site: Site):
    site.pages["/search"] = Page("{}", "application/json")
    said, reached, network = fetching(tmp_path, DOSSIER_TOOLS="searxng", DOSSIER_SEARXNG_URL=site.url)
    assert "searxng could not be reached" in said
    assert "socket." in reached
    assert "services.fetcher.web.guard" in network
    assert not site.asked


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"DOSSIER_TOOLS": "docs,magic"}, "DOSSIER_TOOLS: unknown tool magic; available: arxiv, docs, mcp, "),
        ({"DOSSIER_ALLOW_PRIVATE": "10.0.0.0/8,nonsense:"}, "DOSSIER_ALLOW_PRIVATE: 'nonsense:' names no host"),
    ],
)
def test_a_service_that_is_configured_wrongly_says_so_in_one_line_and_ends(wrong: dict[str, str], said: str):
    told = run("-m", "services.fetcher", environment=inherited(wrong))
    assert told.returncode == 1
    assert told.stderr.startswith(said)
    assert len(told.stderr.splitlines()) == 1
