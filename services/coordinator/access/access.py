"""Who somebody is, from what they show: the keyring kept up with `ACCESS`, and the judgements over it."""

import asyncio
import hmac
from collections.abc import Callable
from contextlib import aclosing
from datetime import datetime
from typing import Final

from msgspec import Struct

from services.coordinator.access import sessions
from services.coordinator.access.rate_limit import Known, RateLimiter, address_block
from services.coordinator.access.sessions import Session
from services.coordinator.access.sign_in_links import SignInLinks
from services.coordinator.http.problems import ProblemError
from shared.api.local_token import LOOPBACK_NAMES
from shared.contracts import envelope
from shared.contracts.access import SecretSet
from shared.contracts.messages import Fill
from shared.contracts.subjects import ACCESS_SECRET
from shared.domain import keys
from shared.domain.approval import LOCAL
from shared.domain.keyring import Keyring, apply_key_fact
from shared.domain.roles import Principal, local_principal
from shared.errors import Refused, Unavailable
from shared.runtime import clock
from shared.runtime.aio import run_until
from shared.runtime.log import End, Log

_FRESH_S: Final = 1.0
"""No key opens anything unless `ACCESS` was read to an end that is at most so old."""
_FOLD_WITHIN_S: Final = 5.0
_NO_HASH: Final = "0" * 64
_FAILURES: Final = (20, 60.0)
_DECISIONS: Final = (120, 60.0)
_SOURCE: Final = "dossier/coordinator"


class AccessSettings(Struct, frozen=True):
    """Where the API may be reached, and with what besides keys. `local` is the token of the data folder."""

    local: str | None = None
    hosts: tuple[str, ...] = LOOPBACK_NAMES


class Access:
    """Knows the keys. `open` it, then let it `run`."""

    def __init__(self, log: Log, entry: AccessSettings, *, now: Callable[[], datetime] = clock.now) -> None:
        self.entry = entry
        self.tickets = SignInLinks()
        self._log = log
        self._now = now
        self._ring = Keyring()
        self._seq = 0
        self._end: End | None = None
        self._grown = asyncio.Event()
        self._anew = asyncio.Event()
        self._proven_s = -_FRESH_S
        self._proving: asyncio.Task[None] | None = None
        self._failures_of_address = RateLimiter(*_FAILURES)
        self._failures_of_key = RateLimiter(*_FAILURES)
        self._decisions = RateLimiter(*_DECISIONS)
        self._seen = Known()

    async def run(self) -> None:
        """Keep up for ever; from the beginning again where `ACCESS` is another stream than before."""
        while True:
            self._anew.clear()
            self._ring, self._seq, self._end = Keyring(), 0, None
            await run_until(self._anew, self._read())

    async def _read(self) -> None:
        async with aclosing(self._log.follow(0)) as chunks:
            async for chunk in chunks:
                for message in chunk:
                    self._ring = apply_key_fact(self._ring, message)
                self._seq = chunk[-1].seq
                self._grown.set()

    async def open(self) -> None:
        """Return when all there is was read and there is a secret to sign with. Raises `Unavailable`."""
        await self._prove()
        if not self._ring.secret:
            fact = SecretSet(secret=clock.secret())
            data = envelope.encode_message(ACCESS_SECRET, fact, source=_SOURCE, time=self._now())
            await self._log.fill([Fill(ACCESS_SECRET, data)])
            await self._prove()

    @property
    def lets_anybody_in(self) -> bool:
        """Whether there is any key that opens anything."""
        return self._ring.any_usable(self._now())

    async def bearer(self, key: str, address: str) -> Principal:
        """Whose key this is. Raises the same problem for every key that opens nothing, and another for too many."""
        id_ = keys.key_id(key) or ""
        self._brake(id_, address)
        if id_ != LOCAL:
            await self._prove(anew=bool(id_) and self._key(id_) is None)
        known = self._key(id_)
        right = hmac.compare_digest(known[1] if known else _NO_HASH, keys.key_hash(key))
        if not (known and right):
            self._failed(id_, address)
            raise unauthenticated()
        self._seen.add(f"{address_block(address)} {id_}")
        return known[0]

    def redeemed(self, ticket: str, address: str) -> Principal:
        """Who this ticket is for. Raises the same problems as `bearer`."""
        self._brake("", address)
        who = self.tickets.redeem(ticket, self._now())
        if who is None:
            self._failed("", address)
            raise unauthenticated()
        return who

    async def session(self, cookie: str) -> tuple[Principal, Session] | None:
        """Whose session the cookie is; `None` where it is over, revoked, or none of ours."""
        await self._prove()
        session = sessions.opened(cookie, self._ring.secret, self._now())
        known = self._key(session.key, session=True, name=session.name) if session else None
        if session is None or known is None or not sessions.is_of(session, known[1]):
            return None
        return known[0], session

    async def begin(self, who: Principal) -> str:
        """The cookie of a new session for them."""
        await self.open()
        known = self._key(who.key)
        if known is None:
            raise unauthenticated()
        made = self._ring.keys.get(who.key)
        until = made.fact.expires_at if made else None
        session = sessions.begun(who.key, known[1], who.name, now=self._now(), until=until, id_=clock.token())
        return sessions.sealed(session, self._ring.secret)

    def csrf(self, session: Session) -> str:
        """See `sessions.csrf`."""
        return sessions.csrf(session, self._ring.secret)

    def is_csrf(self, session: Session, shown: str) -> bool:
        """Whether this is the session's token."""
        return hmac.compare_digest(self.csrf(session).encode(), shown.encode())

    def is_valid(self, who: Principal) -> bool:
        """Whether they may still go on with what they were let in for."""
        return self._key(who.key) is not None

    def decides(self, who: Principal) -> None:
        """Count a decision. Raises the problem of those who decide faster than anybody can read.

        Whoever has the data folder is not counted: nothing is kept from them that way.
        """
        if who.auth == LOCAL:
            return
        now = _clock_s()
        if wait_s := self._decisions.wait_s(who.key, now):
            raise rate_limited("decisions", wait_s)
        self._decisions.count(who.key, now)

    def _key(self, id_: str, *, session: bool = False, name: str = "") -> tuple[Principal, str] | None:
        """Who comes with this key, and the hash of it."""
        if id_ == LOCAL:
            token = self.entry.local
            return (local_principal(name, session=session), keys.key_hash(token)) if token else None
        key = self._ring.usable(id_, self._now())
        if key is None:
            return None
        auth = f"{'session' if session else 'key'}:{key.id}"
        return Principal(key.name, key.role, auth, key.id, key.scopes), key.sha256

    def _brake(self, id_: str, address: str) -> None:
        """Stop whoever tried too much. Whoever came with this key from there before is not stopped for others."""
        where, now = address_block(address), _clock_s()
        if f"{where} {id_}" in self._seen:
            return
        waits = (self._failures_of_address.wait_s(where, now), self._failures_of_key.wait_s(id_, now) if id_ else 0)
        if wait_s := max(waits):
            raise rate_limited("attempts", wait_s)

    def _failed(self, id_: str, address: str) -> None:
        now = _clock_s()
        self._failures_of_address.count(address_block(address), now)
        if id_:
            self._failures_of_key.count(id_, now)

    async def _prove(self, *, anew: bool = False) -> None:
        """Return when everything is read up to an end of `ACCESS` that is fresh. Raises `Unavailable`.

        `anew` for what is not known yet: a key that was just made. Whoever only claims to have one is soon stopped.
        """
        since_s = _clock_s() - (0 if anew else _FRESH_S)
        while self._proven_s < since_s:
            if self._proving is None:
                self._proving = asyncio.create_task(self._prove_now())
                self._proving.add_done_callback(self._proved)
            await asyncio.shield(self._proving)

    def _proved(self, proving: "asyncio.Task[None]") -> None:
        self._proving = None
        if not proving.cancelled():
            proving.exception()

    async def _prove_now(self) -> None:
        asked_s = _clock_s()
        try:
            end = await self._log.end()
        except Refused as error:
            raise Unavailable(f"Who may do what cannot be read: {error}") from error
        if self._end and (end.created != self._end.created or end.seq < self._seq):
            self._ring, self._seq = Keyring(), 0
            self._anew.set()
        self._end = end
        try:
            async with asyncio.timeout(_FOLD_WITHIN_S):
                while self._seq < end.seq:
                    self._grown.clear()
                    await self._grown.wait()
        except TimeoutError as error:
            raise Unavailable("Who may do what could not be read in time.") from error
        self._proven_s = asked_s


def unauthenticated() -> ProblemError:
    """No key, or one that opens nothing; which, is nobody's business."""
    text = "This takes a valid key, as in Authorization: Bearer dsr_…; dossier sends the one in DOSSIER_API_KEY."
    return ProblemError("unauthenticated", text, headers={"WWW-Authenticate": 'Bearer realm="dossier"'})


def rate_limited(what: str, wait_s: float) -> ProblemError:
    """Slower, please."""
    seconds = max(1, round(wait_s + 0.5))
    text = f"Too many {what}; try again in {seconds} s."
    return ProblemError("too_many", text, headers={"Retry-After": str(seconds)})


def _clock_s() -> float:
    return asyncio.get_running_loop().time()
