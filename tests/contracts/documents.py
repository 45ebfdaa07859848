"""The descriptions of the contract that are kept in `docs/reference/`, as the code has them now."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fastapi import FastAPI

from services.coordinator.access.access import Access, AccessSettings
from services.coordinator.api.runs import Api
from shared.contracts import asyncapi
from shared.runtime.memory import MemoryLog
from tests.dossier import Dossier, coordinating
from tests.harness.environment import ROOT


def application(dossier: Dossier, access: Access, deliveries: MemoryLog) -> FastAPI:
    """All of the HTTP API over logs in memory."""
    return Api(
        dossier.log, dossier.coordinator, access, digest_required=False, trouble=lambda: None, deliveries=deliveries
    ).app()


def openapi() -> dict[str, Any]:
    async def described() -> dict[str, Any]:
        with TemporaryDirectory() as data:
            async with coordinating(MemoryLog(), Path(data)) as dossier:
                return application(dossier, Access(MemoryLog(), AccessSettings()), MemoryLog()).openapi()

    return asyncio.run(described())


DOCUMENTS: dict[Path, Callable[[], dict[str, Any]]] = {
    ROOT / "docs/reference/openapi.json": openapi,
    ROOT / "docs/reference/asyncapi.json": asyncapi.document,
}


def written(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
