"""Reports as PDF. Texts reach the typesetter as data, never as markup."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import typst

_TEMPLATE: Final = (Path(__file__).parent / "report.typ").read_bytes()


async def pdf(data: Mapping[str, Any]) -> bytes:
    """PDF of `data`, the input of `report.typ`. Typesets in a thread."""
    return await asyncio.to_thread(_compiled, msgspec.json.encode(data).decode())


def _compiled(data: str) -> bytes:
    """PDF of the JSON in `data`."""
    made = typst.compile(_TEMPLATE, format="pdf", sys_inputs={"data": data})
    assert isinstance(made, bytes)
    return made
