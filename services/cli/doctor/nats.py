"""Checks of NATS: the server's version and limits, its clock, sync mode, streams and space."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
import msgspec

from services.cli.doctor.target import Target
from services.cli.doctor.whoami import Whoami
from services.cli.lockdown.config import MONITOR_OFFSET
from services.cli.lockdown.permissions import INFORMED, OPERATOR, publishable
from shared.contracts import topology as declared
from shared.contracts.envelope import MAX_BYTES
from shared.contracts.topology import Limits
from shared.errors import Refused, ServerTooOld, Unavailable
from shared.nats import topology
from shared.nats.connection import Connection
from shared.service.check import CheckResult, graded, listed, state_above

_NEEDED: Final = MAX_BYTES + 4 * 1024
"""Bytes of the largest message with its headers."""
_SYNC: Final = "sync_interval: always"


async def server(link: Connection) -> list[CheckResult]:
    """Faults if the server is too old, or takes no messages of the largest size."""
    version = CheckResult("server version", "ok", f"nats-server {'.'.join(map(str, link.server_version))}")
    try:
        topology.check_server_version(link)
    except ServerTooOld as error:
        do = "Install a newer nats-server, one node after another."
        version = CheckResult("server version", "fault", str(error), do)
    text = f"The server takes messages of {link.max_payload:,} bytes; Dossier needs {_NEEDED:,}."
    do = "Set max_payload: 1MB in nats-server's configuration, and restart it."
    return [version, graded("max_payload", "ok" if link.max_payload >= _NEEDED else "fault", text, do)]


async def clocks(me: Whoami) -> list[CheckResult]:
    """A warning from 2 s between the server's clock and this machine's, a fault from 60 s."""
    if me.ahead_s is None:
        return [CheckResult("clock", "warning", "The server does not report its time.", "Compare the clocks.")]
    off_s = abs(me.ahead_s)
    text = f"{me.server.name or 'The server'} is {off_s:.1f} s {'ahead' if me.ahead_s > 0 else 'behind'}."
    do = "Set the clocks by NTP: deadlines and the expiry of keys depend on them."
    return [graded("clock", state_above(off_s, warning=2, fault=60), text, do)]


async def sync(target: Target) -> list[CheckResult]:
    """Sync mode and store of each server, from its configuration or monitoring port; a warning where neither is known.

    A server that acknowledges before it syncs is a warning.
    """
    if target.embedded is not None:
        return [_sync_mode("The embedded server", is_always=_SYNC in target.embedded)]
    results: list[CheckResult] = []
    for url in [target.monitor] if target.monitor else _local_monitors(target.servers):
        if (jetstream := await _monitored(url)) is not None:
            config = jetstream.get("config", {})
            results.append(_sync_mode(url, is_always=config.get("sync_always", False)))
            results.append(fullness(f"store of {url}", jetstream.get("storage", 0), config.get("max_storage", 0)))
        else:
            results.append(_unknown_sync_mode(f"{url} does not answer."))
    return results or [_unknown_sync_mode("Only the monitoring port of each server shows it.")]


def _sync_mode(server: str, *, is_always: bool) -> CheckResult:
    """Ok if the server syncs before it acknowledges, else a warning."""
    if is_always:
        return CheckResult("sync mode", "ok", f"{server} acknowledges a message when it is on the disk.")
    text = f"{server} acknowledges before it syncs; a power failure loses up to two minutes."
    do = f"Set {_SYNC} in the jetstream block of nats-server's configuration, and restart it."
    return CheckResult("sync mode", "warning", text, do)


def _unknown_sync_mode(reason: str) -> CheckResult:
    """A warning with the command that shows the sync mode."""
    do = "On each server's machine: curl -s 'http://127.0.0.1:8222/jsz?config=1' must show \"sync_always\": true."
    return CheckResult("sync mode", "warning", f"It is unknown: {reason}", do)


def _local_monitors(servers: Sequence[str]) -> list[str]:
    """Monitoring URLs that `dossier nats init` configures for those of the servers that run on this machine."""
    parts = [urlsplit(server) for server in servers]
    local = [part for part in parts if part.hostname in ("127.0.0.1", "localhost", "::1")]
    return [f"http://127.0.0.1:{(part.port or 4222) + MONITOR_OFFSET}" for part in local]


async def _monitored(url: str) -> dict[str, Any] | None:
    """Answer of a monitoring port to `/jsz`; `None` if there is none within 3 s, or it is no JSON object."""
    try:
        async with httpx2.AsyncClient(trust_env=False, timeout=3) as http:
            answer = (await http.get(f"{url.rstrip('/')}/jsz", params={"config": "1"})).raise_for_status()
        return msgspec.json.decode(answer.content, type=dict[str, Any])
    except (httpx2.HTTPError, httpx2.InvalidURL, msgspec.MsgspecError):
        return None


async def streams(link: Connection, me: Whoami, limits: Limits) -> list[CheckResult]:
    """Warnings for missing streams, another number of replicas than `limits.replicas`, and replicas not current.

    Only streams that this user may see are checked.
    """
    names = [str(stream["name"]) for stream in declared.streams(limits)]
    visible = [name for name in names if me.user is None or f"$JS.API.STREAM.INFO.{name}" in publishable(me.user)]
    if not visible:
        return [_hidden("streams", me)]
    infos = {name: await _stream(link, name) for name in visible}
    if missing := [name for name, info in infos.items() if info is None]:
        do = "Start a coordinator: it creates them."
        return [CheckResult("streams", "warning", f"There is no stream {listed(missing)}.", do)]
    found = {name: info for name, info in infos.items() if info}
    return [CheckResult("streams", "ok", listed(visible)), _replicas(found, limits.replicas)]


async def _stream(link: Connection, name: str) -> dict[str, Any] | None:
    """The answer to `STREAM.INFO`; `None` if there is no such stream."""
    try:
        return await topology.request_api(link, f"STREAM.INFO.{name}")
    except Refused:
        return None


def _replicas(streams: Mapping[str, dict[str, Any]], wanted: int) -> CheckResult:
    """A warning if a stream has another number of replicas, or a replica is offline or behind."""
    counts = {name: info["config"].get("num_replicas", 1) for name, info in streams.items()}
    if differ := [f"{name} has {count}" for name, count in counts.items() if count != wanted]:
        do = "Set the same DOSSIER_REPLICAS everywhere, and restart the coordinators."
        return CheckResult("replicas", "warning", f"DOSSIER_REPLICAS is {wanted} here; {listed(differ)}.", do)
    peers = [(name, peer) for name, info in streams.items() for peer in info.get("cluster", {}).get("replicas") or ()]
    behind = [f"{peer.get('name')} of {name}" for name, peer in peers if peer.get("offline") or not peer.get("current")]
    if behind:
        do = "Check that this node runs, and read its log."
        return CheckResult("replicas", "warning", f"Offline or behind: {listed(behind)}.", do)
    text = f"{wanted} of each stream, all current" if wanted > 1 else "one of each stream: loss of its disk loses it"
    return CheckResult("replicas", "ok", text)


async def store(link: Connection, me: Whoami) -> list[CheckResult]:
    """A fault if JetStream does not answer, else the fullness of the account's store."""
    if me.user and me.name not in INFORMED:
        return [_hidden("store", me)]
    try:
        account = await topology.request_api(link, "INFO")
    except (Refused, Unavailable) as error:
        do = "Enable JetStream for this account."
        return [CheckResult("store", "fault", f"JetStream does not answer: {error}", do)]
    return [fullness("store", account.get("storage", 0), account.get("limits", {}).get("max_storage", -1))]


def fullness(check: str, used: int, limit: int) -> CheckResult:
    """A warning from 80 % of the limit, a fault from 95 %. Sizes are in bytes; a limit of 0 or less is no limit."""
    if limit <= 0:
        return CheckResult(check, "ok", f"{used / 1e6:,.0f} MB stored; no limit is set for this account")
    text = f"{used / 1e6:,.0f} MB of {limit / 1e6:,.0f} MB are used."
    do = "Raise max_file_store, or the account's max_file: a full store takes no writes."
    return graded(check, state_above(used / limit, warning=0.8, fault=0.95), text, do)


def _hidden(check: str, me: Whoami) -> CheckResult:
    """Ok, for a check that this user has no permission for."""
    return CheckResult(check, "ok", f"The {me.name} may not see it; run the doctor as the {OPERATOR}.")
