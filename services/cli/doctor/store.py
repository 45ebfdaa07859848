"""JetStream as Dossier uses it: its streams, their copies, and the room that is left."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from services.cli.doctor.finding import Finding, fault, ok, some, warning
from services.cli.doctor.whoami import Whoami
from services.cli.lockdown.permissions import ACCOUNT_INFO, INFORMED, OPERATOR
from shared.contracts import topology as declared
from shared.contracts.topology import Limits
from shared.errors import Refused, Unavailable
from shared.nats import topology
from shared.nats.connection import Link

_NEAR_FULL: Final = 0.8
_FULL: Final = 0.95


class _Config(Struct, frozen=True):
    num_replicas: int = 1


class _Peer(Struct, frozen=True):
    name: str = ""
    current: bool = False
    offline: bool = False


class _Cluster(Struct, frozen=True):
    replicas: list[_Peer] = []


class _Stream(Struct, frozen=True):
    config: _Config = _Config()
    cluster: _Cluster = _Cluster()


class _Most(Struct, frozen=True):
    max_storage: int = -1


class _Account(Struct, frozen=True):
    storage: int = 0
    limits: _Most = _Most()


async def streams(link: Link, me: Whoami, limits: Limits) -> Sequence[Finding]:
    """Whether each stream is there, as often as was set, and all of its replicas are with it."""
    names = [str(stream["name"]) for stream in declared.streams(limits)]
    visible = [name for name in names if me.may_ask(f"$JS.API.STREAM.INFO.{name}")]
    if not visible:
        return [_hidden("streams", me)]
    infos = dict(zip(visible, await asyncio.gather(*(_stream(link, name) for name in visible)), strict=True))
    if missing := [name for name, info in infos.items() if info is None]:
        return [warning("streams", f"There is no stream {some(missing)}.", "Start a coordinator: it sets them up.")]
    return [ok("streams", some(visible)), _replicas({name: info for name, info in infos.items() if info}, limits)]


def _replicas(infos: Mapping[str, _Stream], limits: Limits) -> Finding:
    wanted = limits.replicas
    if differ := [f"{name} has {n}" for name, info in infos.items() if (n := info.config.num_replicas) != wanted]:
        text = f"DOSSIER_REPLICAS is {wanted} here; {some(differ)}."
        return warning("replicas", text, "Set the same DOSSIER_REPLICAS everywhere, and restart the coordinators.")
    peers = [(name, peer) for name, info in infos.items() for peer in info.cluster.replicas]
    if away := [f"{peer.name} for {name}" for name, peer in peers if peer.offline or not peer.current]:
        return warning("replicas", f"Behind or away: {some(away)}.", "See that this node runs, and what its log says.")
    if wanted == 1:
        return ok("replicas", "one copy of everything: it outlives no loss of its disk")
    return ok("replicas", f"{wanted} of everything, all current")


async def _stream(link: Link, name: str) -> _Stream | None:
    try:
        return msgspec.convert(await topology.api(link, f"STREAM.INFO.{name}"), _Stream)
    except Refused:
        return None


async def room(link: Link, me: Whoami) -> Sequence[Finding]:
    """Whether there is room in JetStream, as far as the account is limited."""
    if me.user and me.name not in INFORMED:
        return [_hidden("store", me)]
    try:
        answer = await topology.api(link, ACCOUNT_INFO.removeprefix("$JS.API."))
    except (Refused, Unavailable) as error:
        return [fault("store", f"JetStream does not answer: {error}", "Switch it on for this account.")]
    account = msgspec.convert(answer, _Account)
    return [filled("store", account.storage, account.limits.max_storage)]


def filled(check: str, used: int, most: int) -> Finding:
    """How full it is, of so many bytes; where that is none, of as many as there are."""
    if most <= 0:
        return ok(check, f"{_mega(used)} stored; no limit is set for this account")
    text = f"{_mega(used)} of {_mega(most)} are full"
    if used < _NEAR_FULL * most:
        return ok(check, text)
    state = fault if used >= _FULL * most else warning
    return state(check, f"{text}.", "Raise max_file_store, or the account's max_file: full, it takes no writes.")


def _mega(size: int) -> str:
    return f"{size / 1_000_000:,.0f} MB"


def _hidden(check: str, me: Whoami) -> Finding:
    return ok(check, f"not for the {me.name} to see; run the doctor as the {OPERATOR}")
