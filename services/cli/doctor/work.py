"""What the services work with: the model's endpoint, the tools, the pages' guard, folders and files."""

import asyncio
import os
import shutil
import stat
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from services.cli.doctor.finding import Finding, fault, ok, some, warning
from services.fetcher.findings.tool import Tool
from services.fetcher.tools.catalogue import LOCAL, Closing, Misconfigured, made
from services.fetcher.web.addresses import rules
from shared.errors import StepError
from shared.models.listing import list_models
from shared.models.prices import is_official
from shared.models.roles import model_name
from shared.runtime import webhooks as configuration
from shared.runtime.settings import Settings

List = Callable[..., Awaitable[frozenset[str]]]

_SEARCH_WITHIN_S: Final = 60.0
_QUERY: Final = "test"
_LITTLE: Final = 1_000_000_000
_HARDLY_ANY: Final = 100_000_000
_GUARDED: Final = ("127.0.0.1", "10.0.0.1", "169.254.169.254", "::1")
"""Addresses that no page is read from: this machine, a private network, the metadata of a cloud."""
_WHAT_HELPS: Final = {
    "unauthorized": "Set OPENAI_API_KEY to a key that this endpoint takes.",
    "forbidden": "Give this key the right to use the models.",
    "connection": "See that OPENAI_BASE_URL is right, and reachable from here.",
    "timeout": "See that OPENAI_BASE_URL is right, and reachable from here.",
    "quota_exhausted": "Pay, or raise the limit: nothing is planned or written by a model until then.",
}


async def model(settings: Settings, list_: List = list_models) -> Sequence[Finding]:
    """Whether the endpoint is there, takes the key, and has the models. Costs nothing."""
    if not settings.openai_key and not settings.openai_base_url:
        return [ok("model", "offline: plans by rule, reports are extracted verbatim")]
    wanted = list(dict.fromkeys((model_name(settings, "planner"), model_name(settings, "writer"))))
    try:
        there = await list_(api_key=settings.openai_key, base_url=settings.openai_base_url, model=wanted[0])
    except StepError as error:
        if error.code == "not_found":
            text = "The endpoint does not list its models, so nobody knows whether it has these."
            return [warning("model", text, "Ask it one question, and see whether the report says degraded.")]
        return [fault("model", error.message, _WHAT_HELPS.get(error.code, "See what the endpoint says."))]
    if missing := [one for one in wanted if one not in there]:
        state = fault if is_official(settings.openai_base_url) else warning
        text = f"The endpoint takes the key and does not list {some(missing)}."
        return [state("model", text, "DOSSIER_PLANNER_MODEL and DOSSIER_WRITER_MODEL name models that it has.")]
    return [ok("model", f"{some(wanted)}: the endpoint takes the key and has them")]


async def tools(settings: Settings) -> Sequence[Finding]:
    """Whether each tool answers one search."""
    try:
        every = made(settings)
    except Misconfigured as error:
        return [fault("tools", str(error), "Correct the setting, and restart the fetchers.")]
    return [await _searched(tool) for tool in every.values()]


async def _searched(tool: Tool) -> Finding:
    check = f"tool {tool.name}"
    try:
        async with asyncio.timeout(_SEARCH_WITHIN_S):
            found = await tool.search(tool.arguments(query=_QUERY, limit=1))
    except StepError as error:
        return fault(check, error.message, "Searches with it find nothing until it answers.")
    except TimeoutError:
        return fault(check, f"It did not answer within {_SEARCH_WITHIN_S:g} s.", "See that its server runs.")
    finally:
        if isinstance(tool, Closing):
            await tool.close()
    return ok(check, f"answers ({len(found)} found)")


def guard(settings: Settings) -> Sequence[Finding]:
    """Whether pages are kept from being read from inside the network."""
    try:
        permitted = rules(settings.allow_private)
    except ValueError as error:
        return [fault("pages' guard", f"DOSSIER_ALLOW_PRIVATE: {error}.", "Correct it, and restart the fetchers.")]
    if set(settings.tools) <= LOCAL:
        return [ok("pages' guard", "no tool finds pages; none is read")]
    if opened := [address for address in _GUARDED if permitted.permit("doctor.invalid", address, 80)]:
        text = f"Pages may be read from {some(opened)} at port 80; whoever writes a page that is found may link there."
        return [warning("pages' guard", text, "Narrow DOSSIER_ALLOW_PRIVATE to the hosts that are meant.")]
    return [ok("pages' guard", "pages are read from public addresses" + _besides(settings))]


def _besides(settings: Settings) -> str:
    return f", and from {some(settings.allow_private)}" if settings.allow_private else " only"


def folder(path: Path) -> Sequence[Finding]:
    """Whether the data folder can be written, and its disk has room."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".doctor-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        do = "Make it writable for this user, or name another with DOSSIER_DATA or --data."
        return [fault("data folder", f"{path} cannot be written: {error.strerror}.", do)]
    return [ok("data folder", f"{path} can be written"), _room(path)]


def _room(path: Path) -> Finding:
    free = shutil.disk_usage(path).free
    text = f"{free / 1_000_000_000:,.1f} GB are free on the disk of {path}"
    if free < _LITTLE:
        state = fault if free < _HARDLY_ANY else warning
        return state("disk", f"{text}.", "Make room: a full disk stops the projection, and NATS if it is on the same.")
    return ok("disk", text)


def webhooks(settings: Settings) -> Sequence[Finding]:
    """Whether the file of those who are told can be used, secrets included."""
    if settings.webhooks is None:
        return [ok("webhooks", "nobody is told of holds, deadlines and ends")]
    try:
        names = [endpoint.name for endpoint in configuration.load_webhooks(settings.webhooks).endpoints]
    except configuration.InvalidWebhooks as error:
        return [fault("webhooks", str(error), "Correct it, and restart the notifier.")]
    return [ok("webhooks", f"{settings.webhooks} tells {some(names)}")]


def seed(path: Path | None) -> Sequence[Finding]:
    """Whether the key to NATS is ours alone."""
    if path is None:
        return []
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        return [warning("nkey", f"{path} can be read by others on this machine.", f"chmod 600 {path}")]
    return [ok("nkey", f"{path} is its owner's alone")]
