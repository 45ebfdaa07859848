"""An MCP server for tests: `python mcp_server.py` speaks stdio, `python mcp_server.py <port>` streamable HTTP."""

import os
import sys

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ResourceLink, TextContent

server = MCPServer("notes")


@server.tool()
def find(query: str) -> list[TextContent | ResourceLink]:
    """Notes about something, and a page."""
    return [
        TextContent(text=f"# Notes about {query}\n\nThe Moon raises the tide."),
        ResourceLink(uri="https://example.org/tides", name="Tides"),
        ResourceLink(uri="file:///etc/passwd", name="Not a page"),
    ]


@server.tool()
def fail(query: str) -> str:
    """Fails."""
    raise ToolError(f"cannot find {query}")


@server.tool()
def demanding(query: str, tenant: str) -> str:
    """Needs more than a query."""
    return query + tenant


@server.tool()
def dies(query: str) -> str:
    """Ends its process."""
    os._exit(3)


@server.tool()
def environment(query: str) -> str:
    """What of the environment it gets to see."""
    return " ".join(sorted(os.environ))  # noqa: TID251  it is the environment that is tested


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run("streamable-http", port=int(sys.argv[1]))
    else:
        server.run("stdio")
