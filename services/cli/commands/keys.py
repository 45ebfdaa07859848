"""`dossier keys`: create, list and revoke API keys, which the stream `ACCESS` keeps."""

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

import msgspec
import typer
from msgspec import Struct
from rich.table import Table
from rich.text import Text

from services.cli.shell import settings
from services.cli.shell.command import command
from services.cli.shell.connecting import connected
from services.cli.shell.options import Data, Json, Nats
from services.cli.shell.refusal import MISUSED, Refusal
from services.cli.shell.terminal import Terminal, printable, user_name
from shared.contracts import envelope
from shared.contracts.access import AccessFact, Action, KeyCreated, KeyRevoked, Role
from shared.contracts.messages import Fill
from shared.contracts.requests import parse_duration_s
from shared.contracts.subjects import ACCESS, key_created, key_revoked
from shared.domain import keys
from shared.domain.approval import LOCAL
from shared.domain.keyring import Keyring, StoredKey, apply_key_fact
from shared.domain.roles import ACTIONS, LEAST, ROLES
from shared.errors import InvalidMessage
from shared.nats import topology
from shared.nats.jetstream import JetStreamLog
from shared.runtime import clock
from shared.runtime.log import Full, Log, Stored

_SOURCE: Final = "dossier/keys"
_NAME: Final = re.compile(r"[^\W_]([\w.@+' -]{0,98}[\w.])?")
_LIFETIME: Final = "90d"

_Word = TypeVar("_Word", Role, Action)
State = Literal["usable", "expired", "revoked"]

app = typer.Typer()
group = typer.Typer(name="keys", help="API keys and their roles.", no_args_is_help=True)
app.add_typer(group)


class KeyRequest(Struct, frozen=True):
    """A key to create, as typed: `expires` is a duration such as `90d`."""

    name: str
    role: str
    scopes: tuple[str, ...]
    expires: str

    def fact(self, id_: str, key: str, now: datetime) -> KeyCreated:
        """The fact that records the key by its hash. Raises `Refusal` for a value that is not allowed."""
        if not _NAME.fullmatch(self.name) or self.name.casefold() == LOCAL:
            raise Refusal(
                f"{self.name!r} cannot name a key: use letters, digits, spaces and . _ @ + ' -, but not {LOCAL!r}.",
                code=MISUSED,
            )
        role = _one_of(self.role, ROLES, "--role")
        return KeyCreated(
            id=id_,
            name=self.name,
            role=role,
            sha256=keys.key_hash(key),
            expires_at=now + timedelta(seconds=_lifetime_s(self.expires)),
            scopes=tuple(_scope(scope, role) for scope in self.scopes),
            created_by=user_name(),
        )


class KeyStore:
    """Keys in the log of the stream `ACCESS`."""

    def __init__(self, log: Log) -> None:
        self._log = log

    async def ring(self) -> Keyring:
        """All keys, including expired and revoked ones."""
        ring = Keyring()
        async for message in self._log.history("access.>"):
            ring = apply_key_fact(ring, message)
        return ring

    async def write(self, subject: str, fact: AccessFact) -> bool:
        """Fill a slot. Return True if it was empty. Raises the log's error if it cannot be written."""
        data = envelope.encode_message(subject, fact, source=_SOURCE, time=clock.now())
        [filled] = await self._log.fill([Fill(subject, data)])
        if not isinstance(filled, Stored | Full):
            raise filled
        return isinstance(filled, Stored)


@asynccontextmanager
async def _open_keys(data: Path | None, nats: str | None) -> AsyncGenerator[KeyStore]:
    """Keys in the NATS at `nats`, else of the Dossier in the folder `data`. Creates the stream if it is missing.

    Raises `Refusal` if NATS does not answer.
    """
    known = settings.read()
    servers = settings.nats_servers(known, data=data, nats=nats)
    link = await connected(servers, name="dossier-keys", identity=settings.identity(known, nats=nats))
    log = JetStreamLog(link, ACCESS)
    try:
        await topology.ensure_access(link, known.limits)
        yield KeyStore(log)
    finally:
        await log.close()


@command(group.command("create"))
async def create_key(
    terminal: Terminal,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the person; all keys of a name are one person.")],
    role: Annotated[str, typer.Option(help="viewer, requester, approver or operator; each includes those before it.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(help="Restrict it to read, ask, cancel, decide or operate."),
    ] = None,
    expires: Annotated[str, typer.Option(help="How long it is valid, as in 12h or 90d; at most 366d.")] = _LIFETIME,
    data: Data = None,
    nats: Nats = None,
) -> None:
    """Create a key and print it, once: only its hash is stored."""
    async with _open_keys(data, nats) as store:
        await create(store, terminal, KeyRequest(name, role, tuple(scope or ()), expires))


async def create(store: KeyStore, terminal: Terminal, request: KeyRequest) -> None:
    """Store a new key by its hash and print the key on standard output. Raises `Refusal` for a request not allowed."""
    id_ = clock.token()[: keys.ID_LENGTH]
    key = keys.format_key(id_, clock.secret())
    fact = request.fact(id_, key, clock.now())
    if not await store.write(key_created(id_), fact):
        raise Refusal(f"A key {id_} exists already; repeat the command.")
    scopes = f", only to {', '.join(fact.scopes)}" if fact.scopes else ""
    until = fact.expires_at.strftime("%Y-%m-%d %H:%M UTC")
    terminal.say(f"Key {id_} of {fact.name}, {fact.role}{scopes}, until {until}. It is shown only now:")
    terminal.write(key.encode())


@command(group.command("list"))
async def list_keys(terminal: Terminal, as_json: Json = False, data: Data = None, nats: Nats = None) -> None:
    """List all keys, including expired and revoked ones."""
    async with _open_keys(data, nats) as store:
        ring, now = await store.ring(), clock.now()
    stored = sorted(ring.keys.values(), key=lambda one: one.at)
    if as_json:
        terminal.write(msgspec.json.encode([_row(one, ring, now) for one in stored]))
    else:
        terminal.out.print(_table(stored, ring, now))


@command(group.command("revoke"))
async def revoke_key(
    terminal: Terminal,
    key: Annotated[str, typer.Argument(metavar="ID", help="Id of the key, as `dossier keys list` shows it.")],
    data: Data = None,
    nats: Nats = None,
) -> None:
    """Revoke a key, and every session that began with it, within a second."""
    async with _open_keys(data, nats) as store:
        await revoke(store, terminal, key)


async def revoke(store: KeyStore, terminal: Terminal, id_: str) -> None:
    """Revoke the key. Raises `Refusal` if there is none with this id; a revoked key stays revoked."""
    if id_ not in (await store.ring()).keys:
        raise Refusal(f"There is no key {id_}; `dossier keys list` shows them.", code=MISUSED)
    is_new = await store.write(key_revoked(id_), KeyRevoked(by=user_name()))
    terminal.say(f"Key {id_} is revoked." if is_new else f"Key {id_} was revoked before.")


def _table(stored: Sequence[StoredKey], ring: Keyring, now: datetime) -> Table:
    """One row per key; keys that are not usable are dimmed."""
    table = Table("Id", "Name", "Role", "Scopes", "Created by", "Expires", "State", box=None, pad_edge=False)
    for one in stored:
        fact, state = one.fact, _state(one.fact.id, ring, now)
        cells = (fact.id, fact.name, fact.role, ", ".join(fact.scopes) or "all", fact.created_by)
        until = fact.expires_at.strftime("%Y-%m-%d")
        style = "" if state == "usable" else "dim"
        table.add_row(*(Text(printable(cell)) for cell in cells), until, state, style=style)
    return table


def _row(stored: StoredKey, ring: Keyring, now: datetime) -> dict[str, object]:
    """The key as `--json` prints it: the fact without the hash, and the key's state."""
    fact = {name: value for name, value in msgspec.structs.asdict(stored.fact).items() if name != "sha256"}
    id_ = stored.fact.id
    return {**fact, "created_at": stored.at, "revoked_at": ring.revoked.get(id_), "state": _state(id_, ring, now)}


def _state(id_: str, ring: Keyring, now: datetime) -> State:
    """State of a key of the ring at this moment."""
    if id_ in ring.revoked:
        return "revoked"
    return "usable" if ring.usable(id_, now) else "expired"


def _scope(text: str, role: Role) -> Action:
    """The action that `text` names. Raises `Refusal` for an unknown one, or one that `role` does not permit."""
    scope = _one_of(text, ACTIONS, "--scope")
    if ROLES.index(LEAST[scope]) > ROLES.index(role):
        raise Refusal(f"--scope {scope} needs the role {LEAST[scope]}, not {role}.", code=MISUSED)
    return scope


def _lifetime_s(text: str) -> float:
    """Seconds of a duration such as `90d`, up to 366 days. Raises `Refusal` for any other text."""
    try:
        return parse_duration_s(text)
    except InvalidMessage as error:
        raise Refusal(f"--expires: {text} is not a duration such as 12h or 90d, up to 366d.", code=MISUSED) from error


def _one_of(text: str, known: Sequence[_Word], option: str) -> _Word:
    """The word of `known` that equals `text`. Raises `Refusal` if there is none."""
    for one in known:
        if one == text:
            return one
    raise Refusal(f"{option} {text}: use one of {', '.join(known)}.", code=MISUSED)
