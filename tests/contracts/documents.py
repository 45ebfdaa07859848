"""The descriptions of the contract that are kept in `docs/reference/`, as the code has them now."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fastapi import FastAPI

from services.coordinator.access.access import Access, AccessSettings
from services.coordinator.app import application
from shared.runtime.memory import MemoryLog
from tests.contracts import asyncapi
from tests.dossier import Dossier, coordinating
from tests.harness.environment import ROOT


def whole_api(dossier: Dossier, access: Access, deliveries: MemoryLog) -> FastAPI:
    """All of the HTTP API over logs in memory."""
    return application(dossier.log, dossier.coordinator, access, unready=lambda: None, deliveries=deliveries)


def described() -> FastAPI:
    """The HTTP API over logs in memory, to be described and not to be called."""

    async def composed() -> FastAPI:
        with TemporaryDirectory() as data:
            async with coordinating(MemoryLog(), Path(data)) as dossier:
                return whole_api(dossier, Access(MemoryLog(), AccessSettings()), MemoryLog())

    return asyncio.run(composed())


def openapi() -> dict[str, Any]:
    return described().openapi()


DOCUMENTS: dict[Path, Callable[[], dict[str, Any]]] = {
    ROOT / "docs/reference/openapi.json": openapi,
    ROOT / "docs/reference/asyncapi.json": asyncapi.document,
}


def written(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
