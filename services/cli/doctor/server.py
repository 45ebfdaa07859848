"""The NATS server: new enough, durable, and with a clock like ours."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

import httpx2
import msgspec
from msgspec import Struct

from services.cli.doctor.finding import Finding, fault, ok, some, warning
from services.cli.doctor.store import filled
from services.cli.doctor.whoami import whoami
from services.cli.lockdown.config import MONITOR_OFFSET
from shared.contracts.envelope import MAX_BYTES
from shared.errors import ServerTooOld
from shared.nats import topology
from shared.nats.connection import Link
from shared.runtime import clock

_HEADERS: Final = 4 * 1024
_SKEW_S: Final = 2.0
_FAR_S: Final = 60.0
_SYNC_HINT: Final = "sync_interval: always in the jetstream block of nats-server's configuration, then restart it."


async def version(link: Link) -> Sequence[Finding]:
    """Whether the server can do what Dossier builds on."""
    try:
        topology.refuse_old(link)
    except ServerTooOld as error:
        return [fault("server version", str(error), "Install a newer nats-server, one node after another.")]
    return [ok("server version", f"nats-server {'.'.join(map(str, link.server_version))}")]


async def payload(link: Link) -> Sequence[Finding]:
    """Whether the largest message fits."""
    most, need = link.max_payload, MAX_BYTES + _HEADERS
    if most < need:
        text = f"The server takes messages of {most:,} bytes; Dossier sends up to {need:,}."
        return [fault("max_payload", text, "max_payload: 1MB in nats-server's configuration, then restart it.")]
    return [ok("max_payload", f"{most:,} bytes, {need:,} are needed")]


async def skew(link: Link) -> Sequence[Finding]:
    """Whether the server's clock, by which deadlines are judged, is ours, by which we look and keys expire."""
    before = clock.now()
    me = await whoami(link)
    after = clock.now()
    then = me.server.time
    if then is None:
        return [warning("clock", "The server does not say what time it has.", "Compare the clocks yourself.")]
    here = before + (after - before) / 2
    off_s = (then - here).total_seconds()
    text = f"{me.server.name or 'the server'} is {abs(off_s):.1f} s {'ahead' if off_s > 0 else 'behind'}"
    if abs(off_s) > _FAR_S:
        return [fault("clock", text, "Set the clocks by NTP: deadlines and keys are minutes off.")]
    if abs(off_s) > _SKEW_S:
        return [warning("clock", text, "Set the clocks by NTP.")]
    return [ok("clock", text)]


class _JetStream(Struct, frozen=True):
    sync_always: bool = False
    max_storage: int = 0


class _Monitored(Struct, frozen=True):
    """What a server's monitoring port says."""

    config: _JetStream = _JetStream()
    storage: int = 0


async def sync(servers: Sequence[str], monitor: str | None, *, embedded: str | None) -> Sequence[Finding]:
    """Whether what is acknowledged is on the disk, and how full that is. Only a server's monitoring port says so.

    `embedded` is the configuration of a server that `dossier up` has started.
    """
    if embedded is not None:
        return [_judged("the embedded server", "sync_interval: always" in embedded)]
    found = [(url, await _monitored(url)) for url in ([monitor] if monitor else _monitors(servers))]
    seen = [_judged(url, said.config.sync_always) for url, said in found if said]
    seen += [filled(f"store of {url}", said.storage, said.config.max_storage) for url, said in found if said]
    unseen = [url for url, said in found if said is None]
    if not found or unseen:
        text = f"It cannot be known from here{f': {some(unseen)} does not answer' if unseen else ''}."
        do = "On each server's machine: curl -s 'http://127.0.0.1:8222/jsz?config=1' has to say \"sync_always\": true."
        return [*seen, warning("sync mode", text, do)]
    return seen


def _judged(where: str, always: bool) -> Finding:
    if always:
        return ok("sync mode", f"{where}: nothing is acknowledged before it is on the disk")
    text = f"{where}: acknowledges before it has synced; a power failure loses up to two minutes."
    return warning("sync mode", text, _SYNC_HINT)


def _monitors(servers: Sequence[str]) -> list[str]:
    """Where servers on this machine have their monitoring, set up by `dossier nats init`."""
    parts = [urlsplit(server) for server in servers]
    return [
        f"http://127.0.0.1:{(part.port or 4222) + MONITOR_OFFSET}"
        for part in parts
        if part.hostname in ("127.0.0.1", "localhost", "::1")
    ]


async def _monitored(url: str) -> _Monitored | None:
    try:
        async with httpx2.AsyncClient(trust_env=False, timeout=3) as http:
            answer = (await http.get(f"{url.rstrip('/')}/jsz", params={"config": "1"})).raise_for_status()
        return msgspec.json.decode(answer.content, type=_Monitored)
    except (httpx2.HTTPError, httpx2.InvalidURL, msgspec.MsgspecError):
        return None
