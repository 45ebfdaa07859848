"""The pages and what their forms do. Everything works without a script; scripts make it live and quick."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, get_args

import msgspec
from fastapi import APIRouter, Form, Path, Query, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response, StreamingResponse
from msgspec import Struct
from starlette.datastructures import FormData

from services.coordinator.desk import Desk
from services.coordinator.loop import Coordinator
from services.coordinator.owed import decided_findings
from services.coordinator.pages.hub import Hub
from services.coordinator.pages.passages import excerpt
from services.coordinator.pages.render import STATIC, Renderer
from services.coordinator.pages.rows import SHOWS, Show, by_deadline, row
from services.coordinator.pages.timeline import bars, lines
from services.coordinator.problems import ProblemError, unknown_run
from services.coordinator.run import Run
from shared.contracts.subjects import TOKEN

_TITLES: Final[dict[Show, str]] = {
    "waiting": "Waiting for a decision",
    "running": "Running",
    "finished": "Finished",
    "failed": "Failed",
    "all": "All runs",
}
_TABS: Final[tuple[tuple[Show, str], ...]] = (
    ("waiting", "Waiting"),
    ("running", "Running"),
    ("finished", "Finished"),
    ("failed", "Failed"),
    ("all", "All"),
)
