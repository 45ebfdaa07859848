"""`dossier keys`: they are kept in the stream `ACCESS`, so whoever may write there may make them."""

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Final, Literal, TypeVar

import msgspec
from msgspec import Struct
from rich.table import Table
from rich.text import Text

from services.cli.shell.connecting import connected
from services.cli.shell.refusal import MISUSED, Refusal
from services.cli.shell.terminal import Terminal, printable, user_name
from shared.contracts import envelope
from shared.contracts.access import AccessFact, Action, KeyCreated, KeyRevoked, Role
from shared.contracts.messages import Fill
from shared.contracts.requests import parse_duration_s
from shared.contracts.subjects import ACCESS, key_created, key_revoked
from shared.contracts.topology import Limits
from shared.domain import keys
from shared.domain.approval import LOCAL
from shared.domain.keyring import Keyring, StoredKey, apply_key_fact
from shared.domain.roles import ACTIONS, LEAST, ROLES
from shared.errors import InvalidMessage
from shared.nats import topology
from shared.nats.jetstream import JetStreamLog
from shared.runtime import clock
from shared.runtime.identity import NO_IDENTITY, Identity
from shared.runtime.log import Full, Log, Stored

_SOURCE: Final = "dossier/keys"
_NAME: Final = re.compile(r"[^\W_]([\w.@+' -]{0,98}[\w.])?")

_Word = TypeVar("_Word", Role, Action)
State = Literal["usable", "expired", "revoked"]


class Wanted(Struct, frozen=True):
    """A key to make, as it was typed."""

    name: str
    role: str
    scopes: tuple[str, ...]
    expires: str

    def fact(self, id_: str, key: str, now: datetime) -> KeyCreated:
        """What to keep of it. Raises `Refusal` for what cannot be made."""
        if not _NAME.fullmatch(self.name) or self.name.casefold() == LOCAL:
            raise Refusal(f"{self.name!r} cannot name a key: letters, digits and . _ @ + ' - can.", code=MISUSED)
        role = _one_of(self.role, ROLES, "--role")
        return KeyCreated(
            id=id_,
            name=self.name,
            role=role,
            sha256=keys.key_hash(key),
            expires_at=now + timedelta(seconds=_seconds(self.expires)),
            scopes=tuple(self._scope(scope, role) for scope in self.scopes),
            created_by=user_name(),
        )

    def _scope(self, text: str, role: Role) -> Action:
        scope = _one_of(text, ACTIONS, "--scope")
        if ROLES.index(LEAST[scope]) > ROLES.index(role):
            raise Refusal(f"--scope {scope}: that takes the role {LEAST[scope]}, not {role}.", code=MISUSED)
        return scope


class KeyStore:
    """The stream `ACCESS`."""

    def __init__(self, log: Log) -> None:
        self._log = log

    @classmethod
    @asynccontextmanager
    async def open(
        cls, servers: Sequence[str], limits: Limits, identity: Identity = NO_IDENTITY
    ) -> "AsyncGenerator[KeyStore]":
        """Connect, and make the stream where it is missing. Raises `Refusal` where no NATS answers."""
        link = await connected(servers, name="dossier-keys", identity=identity)
        log = JetStreamLog(link, ACCESS)
        try:
            await topology.ensure_access(link, limits)
            yield cls(log)
        finally:
            await log.close()

    async def ring(self) -> Keyring:
        """All keys."""
        ring = Keyring()
        async for message in self._log.history("access.>"):
            ring = apply_key_fact(ring, message)
        return ring

    async def write(self, subject: str, fact: AccessFact) -> bool:
        """Fill a box; whether it was empty."""
        data = envelope.encode_message(subject, fact, source=_SOURCE, time=clock.now())
        [filled] = await self._log.fill([Fill(subject, data)])
        if not isinstance(filled, Stored | Full):
            raise filled
        return isinstance(filled, Stored)


async def create(store: KeyStore, terminal: Terminal, wanted: Wanted) -> None:
    """Make a key, and give it: on standard output, and never again."""
    id_ = clock.token()[: keys.ID_LENGTH]
    key = keys.format_key(id_, clock.secret())
    fact = wanted.fact(id_, key, clock.now())
    if not await store.write(key_created(id_), fact):
        raise Refusal(f"There is a key {id_} already; try again.")
    narrowed = f", only to {', '.join(fact.scopes)}" if fact.scopes else ""
    until = fact.expires_at.strftime("%Y-%m-%d %H:%M UTC")
    terminal.say(f"Key {id_} of {fact.name}, {fact.role}{narrowed}, until {until}. It is shown only now:")
    terminal.write(key.encode())


async def show(store: KeyStore, terminal: Terminal, *, as_json: bool) -> None:
    """List all keys, oldest first."""
    ring, now = await store.ring(), clock.now()
    made = sorted(ring.keys.values(), key=lambda one: one.at)
    if as_json:
        terminal.write(msgspec.json.encode([_row(one, ring, now) for one in made]))
        return
    table = Table("Id", "Name", "Role", "Scopes", "Created by", "Expires", "State", box=None, pad_edge=False)
    for one in made:
        fact, state = one.fact, _state(one.fact.id, ring, now)
        cells = (fact.id, fact.name, fact.role, ", ".join(fact.scopes) or "all", fact.created_by)
        until = fact.expires_at.strftime("%Y-%m-%d")
        style = "" if state == "usable" else "dim"
        table.add_row(*(Text(printable(cell)) for cell in cells), until, state, style=style)
    terminal.out.print(table)


async def revoke(store: KeyStore, terminal: Terminal, id_: str) -> None:
    """End a key."""
    if id_ not in (await store.ring()).keys:
        raise Refusal(f"There is no key {id_}; `dossier keys list` shows them.", code=MISUSED)
    if await store.write(key_revoked(id_), KeyRevoked(by=user_name())):
        terminal.say(f"Key {id_} opens nothing any more.")
    else:
        terminal.say(f"Key {id_} was revoked before.")


def _row(made: StoredKey, ring: Keyring, now: datetime) -> dict[str, object]:
    fact = made.fact
    return {
        "id": fact.id,
        "name": fact.name,
        "role": fact.role,
        "scopes": fact.scopes,
        "created_by": fact.created_by,
        "created_at": made.at,
        "expires_at": fact.expires_at,
        "revoked_at": ring.revoked.get(fact.id),
        "state": _state(fact.id, ring, now),
    }


def _state(id_: str, ring: Keyring, now: datetime) -> State:
    if id_ in ring.revoked:
        return "revoked"
    return "usable" if ring.usable(id_, now) else "expired"


def _seconds(text: str) -> float:
    try:
        return parse_duration_s(text)
    except InvalidMessage as error:
        raise Refusal(f"--expires: {text} is no time such as 12h or 90d, up to 366d.", code=MISUSED) from error


def _one_of(text: str, known: Sequence[_Word], option: str) -> _Word:
    for one in known:
        if one == text:
            return one
    raise Refusal(f"{option} {text}: it is one of {', '.join(known)}.", code=MISUSED)
