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
Make = Callable[[Settings], Tool]
"""Makes a tool, and reaches for nothing yet. Raises `Misconfigured` where a setting is missing."""

_OURS: Final = ("docs", "searxng", "wikipedia", "arxiv", "tavily", "mcp")
LOCAL: Final = frozenset({"docs"})
"""Those of ours that never give a link."""


class Misconfigured(DossierError):
    """A setting names an unknown tool, or lacks a value that a tool needs."""


@runtime_checkable
class Closing(Protocol):
    """A tool with resources to close."""

    async def close(self) -> None:
        """Release its resources."""
        ...


def known() -> Mapping[str, EntryPoint]:
    """Return every installed tool by name. Built-in tools take precedence over others of the same name."""
    ours = {name: EntryPoint(name, f"services.fetcher.tools.{name}:make", GROUP) for name in _OURS}
    return {entry.name: entry for entry in entry_points(group=GROUP)} | ours


def made(settings: Settings) -> dict[str, Tool]:
    """Return the allowed tools by name, in the order of the settings. Raises `Misconfigured`."""
    there = known()
    if unknown := [name for name in settings.tools if name not in there]:
        raise Misconfigured(
            f"DOSSIER_TOOLS: there is no tool {' or '.join(unknown)}; what there is: {', '.join(sorted(there))}."
        )
    return {name: _made(there[name], settings) for name in settings.tools}


def _made(entry: EntryPoint, settings: Settings) -> Tool:
    """Import one tool and make it. Raise `Misconfigured` if it cannot be imported or configured."""
    try:
        make = cast("Make", entry.load())
    except (ImportError, AttributeError) as error:
        raise Misconfigured(f"DOSSIER_TOOLS: the tool {entry.name} cannot be loaded: {error}.") from error
    return make(settings)
