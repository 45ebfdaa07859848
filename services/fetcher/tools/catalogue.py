"""The available tools, and the ones that the operator allows.

A tool is an entry point of the group `dossier.tools`: its name, and a function that makes it from the settings.
Installing another distribution adds its tools. Only allowed tools are imported, so a service without web tools has no
network code in memory.
"""

from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Final, Protocol, cast, runtime_checkable

from services.fetcher.findings.tool import Tool
from shared.errors import DossierError
from shared.runtime.settings import Settings

GROUP: Final = "dossier.tools"
ToolFactory = Callable[[Settings], Tool]
"""Makes a tool without using the network. Raises `Misconfigured` if a setting is missing."""

_BUILT_IN: Final = ("docs", "searxng", "wikipedia", "arxiv", "tavily", "mcp")
LOCAL: Final = frozenset({"docs"})
"""Built-in tools that never return links."""


class Misconfigured(DossierError):
    """A setting names an unknown tool, or lacks a value that a tool needs."""


@runtime_checkable
class Closable(Protocol):
    """A tool with resources to close."""

    async def close(self) -> None:
        """Release its resources."""
        ...


def available_tools() -> Mapping[str, EntryPoint]:
    """Return every installed tool by name. Built-in tools take precedence over others of the same name."""
    ours = {name: EntryPoint(name, f"services.fetcher.tools.{name}:make", GROUP) for name in _BUILT_IN}
    return {entry.name: entry for entry in entry_points(group=GROUP)} | ours


def build_tools(settings: Settings) -> dict[str, Tool]:
    """Return the allowed tools by name, in the order of the settings. Raises `Misconfigured`."""
    there = available_tools()
    if unknown := [name for name in settings.tools if name not in there]:
        raise Misconfigured(
            f"DOSSIER_TOOLS: unknown tool {' or '.join(unknown)}; available: {', '.join(sorted(there))}."
        )
    return {name: _build_tool(there[name], settings) for name in settings.tools}


def _build_tool(entry: EntryPoint, settings: Settings) -> Tool:
    """Import one tool and make it. Raise `Misconfigured` if it cannot be imported or configured."""
    try:
        make = cast("ToolFactory", entry.load())
    except (ImportError, AttributeError) as error:
        raise Misconfigured(f"DOSSIER_TOOLS: the tool {entry.name} cannot be loaded: {error}.") from error
    return make(settings)
