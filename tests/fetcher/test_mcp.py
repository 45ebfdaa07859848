"""The tool `mcp` with real servers: one that it starts, one that it finds on loopback."""

import asyncio
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.fetcher.findings.tool import Answer, Hit, Link, Search
from services.fetcher.tools.mcp import Mcp
from shared.errors import StepError, Terminal, Transient
from tests.harness import http
from tests.harness.ports import free_port
from tests.harness.waiting import wait_until

SERVER = str(Path(__file__).with_name("mcp_server.py"))
STDIO = shlex.join([sys.executable, SERVER])


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server on loopback."""
    port = free_port()
    process = subprocess.Popen([sys.executable, SERVER, str(port)], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: http.status(port, "/") is not None)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.kill()
        process.wait()


def search(server: str, tool: str = "find", argument: str = "query", **how: object) -> Answer:
    mcp = Mcp(server, tool=tool, argument=argument, **how)  # type: ignore[arg-type]
    return asyncio.run(mcp.search(Search(query="spring tides", limit=5)))


def fault(server: str, tool: str, argument: str = "query", **how: object) -> StepError:
    with pytest.raises(StepError) as caught:
        search(server, tool, argument, **how)
    return caught.value


def is_right(found: Answer) -> None:
    hit, link = found
    assert isinstance(hit, Hit)
    assert (hit.title, hit.location) == ("Notes about spring tides", "mcp:find#1")
    assert hit.text == "# Notes about spring tides\n\nThe Moon raises the tide."
    assert link == Link("https://example.org/tides", "Tides")


def test_a_server_that_is_started_is_asked():
    is_right(search(STDIO))


def test_a_server_with_a_url_is_asked_each_time_anew(url: str):
    is_right(search(url))
    is_right(search(url, key="secret"))


def test_what_the_operator_chose_wrongly_is_said_with_what_there_is(url: str):
    unknown = fault(url, "search")
    assert isinstance(unknown, Terminal)
    assert (unknown.code, unknown.message) == (
        "mcp_tool_unknown",
        "The MCP server has no tool search; available: demanding, dies, environment, fail, find.",
    )
    assert fault(url, "find", "q").message == "find accepts no argument q; accepted: query."
    assert fault(url, "demanding").message == "demanding also needs tenant."


def test_a_tool_that_fails_is_heard(url: str):
    error = fault(url, "fail")
    assert (error.code, isinstance(error, Terminal)) == ("mcp_tool", True)
    assert "cannot find spring tides" in error.message


def test_a_server_that_dies_or_is_not_there_is_asked_again_later():
    for error in (
        fault(STDIO, "dies", timeout_s=10),
        fault(f"http://127.0.0.1:{free_port()}/mcp", "find"),
        fault("/nowhere/server --flag", "find"),
    ):
        assert isinstance(error, Transient), error
        assert error.code in {"mcp_server", "mcp_unreachable"}


def test_a_server_that_says_nothing_is_not_waited_for_for_ever():
    error = fault(shlex.join([sys.executable, "-c", "input()"]), "find", timeout_s=0.5)
    assert isinstance(error, Transient)


def test_a_started_server_sees_of_our_environment_what_it_is_given(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    (hit,) = search(STDIO, "environment", environment={"NOTES_KEY": "theirs"})
    assert isinstance(hit, Hit)
    assert "NOTES_KEY" in hit.text
    assert "OPENAI" not in hit.text
