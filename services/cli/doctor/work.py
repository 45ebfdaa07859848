"""Checks of the resources of the services: the model's endpoint, the fetcher, folders and files."""

import asyncio
import os
import shutil
import stat
import sys
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path
from typing import Final

import msgspec

from shared.errors import StepError
from shared.models.listing import list_models
from shared.models.prices import is_official
from shared.models.roles import model_name
from shared.runtime import webhooks as configuration
from shared.runtime.settings import Settings
from shared.service.check import CheckResult, graded, listed, state_above

_FETCHER_S: Final = 90.0
_REACH: Final = "Check that OPENAI_BASE_URL is right, and reachable from here."
_REMEDIES: Final = {
    "unauthorized": "Set OPENAI_API_KEY to a key that this endpoint accepts.",
    "forbidden": "Give this key the right to use the models.",
    "connection": _REACH,
    "timeout": _REACH,
    "quota_exhausted": "Pay, or raise the limit: until then no model plans or writes.",
}
"""Remedy for each code of a model's `StepError`."""


async def model(settings: Settings) -> list[CheckResult]:
    """A fault if the endpoint does not list its models, or OpenAI lacks one that is set. Costs nothing.

    Another endpoint without the models, or without a list, is a warning. Without an endpoint the result is ok.
    """
    if not settings.openai_key and not settings.openai_base_url:
        return [CheckResult("model", "ok", "offline: plans by rule, reports are extracted verbatim")]
    wanted = list(dict.fromkeys((model_name(settings, "planner"), model_name(settings, "writer"))))
    try:
        known = await list_models(api_key=settings.openai_key, base_url=settings.openai_base_url, model=wanted[0])
    except StepError as error:
        if error.code == "not_found":
            text = "The endpoint does not list its models."
            return [CheckResult("model", "warning", text, "Ask a question, and check that the report is not degraded.")]
        return [CheckResult("model", "fault", error.message, _REMEDIES.get(error.code, "Read the endpoint's message."))]
    if missing := [name for name in wanted if name not in known]:
        state = "fault" if is_official(settings.openai_base_url) else "warning"
        text = f"The endpoint accepts the key and does not list {listed(missing)}."
        return [
            CheckResult("model", state, text, "Set DOSSIER_PLANNER_MODEL and DOSSIER_WRITER_MODEL to listed models.")
        ]
    return [CheckResult("model", "ok", f"{listed(wanted)}: the endpoint accepts the key and has them")]


async def fetcher() -> list[CheckResult]:
    """Results of `python -m services.fetcher --check`, run as a child with this environment.

    A fault if the child fails, or takes longer than 90 s; it is then killed.
    """
    command = (sys.executable, "-P", "-m", "services.fetcher", "--check")
    child = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
    try:
        async with asyncio.timeout(_FETCHER_S):
            output, log = await child.communicate()
    except TimeoutError:
        output, log = b"", f"It did not end within {_FETCHER_S:g} s.".encode()
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode == 0:
        return msgspec.json.Decoder(CheckResult).decode_lines(output)
    last = log.decode(errors="replace").strip().rpartition("\n")[2]
    return [
        CheckResult("fetcher", "fault", f"The fetcher cannot check itself: {last}", f"Run {' '.join(command[2:])}.")
    ]


def folder(path: Path) -> list[CheckResult]:
    """Create the folder if it is missing. A fault if it cannot be written, else the free space of its disk."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".doctor-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        do = "Make it writable for this user, or name another with DOSSIER_DATA or --data."
        return [CheckResult("data folder", "fault", f"{path} cannot be written: {error.strerror}.", do)]
    free = shutil.disk_usage(path).free
    do = "Free some space: a full disk stops the projection, and NATS if it uses the same disk."
    state = state_above(-free, warning=-1_000_000_000, fault=-100_000_000)
    return [
        CheckResult("data folder", "ok", f"{path} can be written."),
        graded("disk", state, f"{free / 1e9:,.1f} GB are free on the disk of {path}.", do),
    ]


def webhooks(settings: Settings) -> list[CheckResult]:
    """A fault if the file of webhooks or one of its secrets cannot be used."""
    if settings.webhooks is None:
        return [CheckResult("webhooks", "ok", "none: DOSSIER_WEBHOOKS is not set")]
    try:
        names = [endpoint.name for endpoint in configuration.load_webhooks(settings.webhooks).endpoints]
    except configuration.InvalidWebhooks as error:
        return [CheckResult("webhooks", "fault", str(error), "Correct it, and restart the notifier.")]
    return [CheckResult("webhooks", "ok", f"{settings.webhooks}: {listed(names)}")]


def seed(path: Path | None) -> list[CheckResult]:
    """A warning if other users of this machine can read the file of the nkey seed; no result without one."""
    if path is None:
        return []
    is_private = not stat.S_IMODE(path.stat().st_mode) & 0o077
    text = f"Only its owner can read {path}." if is_private else f"Other users of this machine can read {path}."
    return [graded("nkey", "ok" if is_private else "warning", text, f"chmod 600 {path}")]
