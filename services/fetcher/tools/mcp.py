"""The tool `mcp`: one tool of any server that speaks the Model Context Protocol, over stdio or streamable HTTP.

The operator chooses the tool and the argument that gets the query; server and model do not. Each search has a session
of its own, so a stopped worker leaves nothing behind and a restarted server makes no difference.
"""

import asyncio
import shlex
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Final, cast

import httpx2
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, EmbeddedResource, ResourceLink, TextContent, TextResourceContents

from services.fetcher.findings.tool import Answer, Hit, Link, Search
from services.fetcher.tools.catalogue import Misconfigured
from shared.errors import StepError, Terminal, Transient
from shared.runtime import clock
from shared.runtime.settings import Settings

_TIMEOUT_S: Final = 60.0
_AT_ONCE: Final = 2
_MAX_TEXT: Final = 500_000


class Mcp:
    """Calls the tool `tool` of `server`: a URL, or a command that is started with `environment`.
    Two calls at a time.
    """

    name = "mcp"
    arguments = Search

    def __init__(
        self,
        server: str,
        *,
        tool: str,
        argument: str,
        key: str | None = None,
        environment: dict[str, str] | None = None,
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        self._server = server
        self._tool = tool
        self._argument = argument
        self._key = key
        self._environment = environment or {}
        self._timeout_s = timeout_s
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def search(self, search: Search) -> Answer:
        """Call the tool. Its texts become documents, its links to web pages become links. Raises `StepError`."""
        async with self._places:
            result = await self._call(search.query)
        if result.is_error:
            said = " ".join(block.text for block in result.content if isinstance(block, TextContent))
            raise Terminal("mcp_tool", f"The MCP tool {self._tool} failed: {said[:300] or 'no reason was given'}.")
        return list(self._results(result))[: search.limit]

    async def _call(self, query: str) -> CallToolResult:
        """Call the tool within the time limit. Raise `Terminal` or `Transient` if that fails."""
        try:
            async with asyncio.timeout(self._timeout_s), self._session() as session:
                await self._check(session)
                return await session.call_tool(self._tool, {self._argument: query})
        except TimeoutError as error:
            raise Transient("mcp_timeout", f"The MCP server did not answer within {self._timeout_s:g} s.") from error
        except MCPError as error:
            raise Transient("mcp_server", f"The MCP server refused ({error.error.code}).") from error
        except ExceptionGroup as group:
            raise _first_error(group) from group
        except OSError as error:
            raise Transient("mcp_unreachable", f"The MCP server does not start: {error.strerror}.") from error

    async def _check(self, session: Client) -> None:
        """Raise `Terminal` if the server lacks the tool, or the tool does not accept the argument or needs others."""
        listed = {tool.name: tool for tool in (await session.list_tools()).tools}
        if self._tool not in listed:
            there = ", ".join(sorted(listed)) or "none"
            raise Terminal("mcp_tool_unknown", f"The MCP server has no tool {self._tool}; available: {there}.")
        schema = listed[self._tool].input_schema
        takes = schema.get("properties", {})
        if self._argument not in takes:
            there = ", ".join(sorted(takes)) or "none"
            raise Terminal("mcp_argument", f"{self._tool} accepts no argument {self._argument}; accepted: {there}.")
        if missing := set(schema.get("required", [])) - {self._argument}:
            raise Terminal("mcp_argument", f"{self._tool} also needs {', '.join(sorted(missing))}.")

    @asynccontextmanager
    async def _session(self) -> AsyncGenerator[Client]:
        """Open a session over HTTP or with a child process, and close it at the end."""
        if not self._server.startswith(("http://", "https://")):
            command, *arguments = shlex.split(self._server)
            parameters = StdioServerParameters(command=command, args=arguments, env=self._environment)
            async with Client(parameters, read_timeout_seconds=self._timeout_s) as session:
                yield session
            return
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        async with (
            httpx2.AsyncClient(headers=headers, trust_env=False, timeout=self._timeout_s) as http,
            Client(streamable_http_client(self._server, http_client=http)) as session,
        ):
            yield session

    def _results(self, result: CallToolResult) -> Iterator[Hit | Link]:
        """Yield documents and links of the result; empty texts and other blocks are left out."""
        for number, block in enumerate(result.content, 1):
            match block:
                case TextContent(text=text) if text.strip():
                    yield self._hit(f"mcp:{self._tool}#{number}", text)
                case EmbeddedResource(resource=TextResourceContents(uri=uri, text=text)) if text.strip():
                    yield self._hit(str(uri), text)
                case ResourceLink(uri=uri, name=name) if str(uri).startswith(("http://", "https://")):
                    yield Link(str(uri), name)
                case _:
                    pass

    def _hit(self, location: str, text: str) -> Hit:
        """Return a document titled by its first line, cut to `_MAX_TEXT` characters."""
        title = next(line for line in text.splitlines() if line.strip()).strip(" #")[:200]
        return Hit(title or location, location, text[:_MAX_TEXT], fetched_at=clock.now(), media_type="text/plain")


def _first_error(group: ExceptionGroup[Exception]) -> StepError:
    """Return the first error within nested groups; `Transient` if it is no `StepError`."""
    inner = group.exceptions[0]
    if isinstance(inner, ExceptionGroup):
        return _first_error(cast("ExceptionGroup[Exception]", inner))
    if isinstance(inner, StepError):
        return inner
    return Transient("mcp_unreachable", "The MCP server could not be reached, or ended the connection.")


def make(settings: Settings) -> Mcp:
    """Return the tool for the operator's server. Raises `Misconfigured` without server or tool."""
    if not settings.mcp_server or not settings.mcp_tool:
        raise Misconfigured(
            "DOSSIER_TOOLS has mcp: DOSSIER_MCP_SERVER and DOSSIER_MCP_TOOL must name the server and its tool."
        )
    return Mcp(
        settings.mcp_server,
        tool=settings.mcp_tool,
        argument=settings.mcp_argument,
        key=settings.mcp_key.get_secret_value() if settings.mcp_key else None,
        environment=settings.mcp_environment,
    )
