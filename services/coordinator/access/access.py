"""Authentication: keys, sessions and sign-in links, checked against the keyring that follows the stream `ACCESS`."""

import asyncio
import hmac
from collections.abc import Callable
from contextlib import aclosing
from datetime import datetime
from typing import Final

from msgspec import Struct

from services.coordinator.access import sessions
from services.coordinator.access.rate_limit import RateLimiter, RecentNames, address_block
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
    """Host names under which the API may be reached, and the token of the data folder (`local`), or None."""

    local: str | None = None
    hosts: tuple[str, ...] = LOOPBACK_NAMES


class Access:
    """Authenticates callers. Call `open` first, and keep `run` running: it follows `ACCESS`."""

    def __init__(self, log: Log, entry: AccessSettings, *, now: Callable[[], datetime] = clock.now) -> None:
        self.entry = entry
        self.sign_in_links = SignInLinks()
        self._log = log
        self._now = now
        self._keyring = Keyring()
        self._seq = 0
        self._end: End | None = None
        self._advanced = asyncio.Event()
        self._restart = asyncio.Event()
        self._read_at_s = -_FRESH_S
        self._reading: asyncio.Task[None] | None = None
        self._failures_of_address = RateLimiter(*_FAILURES)
        self._failures_of_key = RateLimiter(*_FAILURES)
        self._decisions = RateLimiter(*_DECISIONS)
        self._recent = RecentNames()

    async def run(self) -> None:
        """Follow `ACCESS` until cancelled; read it again from its beginning if it turns out to be another stream."""
        while True:
            self._restart.clear()
            self._keyring, self._seq, self._end = Keyring(), 0, None
            await run_until(self._restart, self._read())

    async def _read(self) -> None:
        """Apply each key fact to the keyring as it arrives, until cancelled."""
        async with aclosing(self._log.follow(0)) as chunks:
            async for chunk in chunks:
                for message in chunk:
                    self._keyring = apply_key_fact(self._keyring, message)
                self._seq = chunk[-1].seq
                self._advanced.set()

    async def open(self) -> None:
        """Read `ACCESS` to its end, and write the secret that signs sessions if there is none. Raises `Unavailable`."""
        await self._read_to_end()
        if not self._keyring.secret:
            fact = SecretSet(secret=clock.secret())
            data = envelope.encode_message(ACCESS_SECRET, fact, source=_SOURCE, time=self._now())
            await self._log.fill([Fill(ACCESS_SECRET, data)])
            await self._read_to_end()

    @property
    def has_usable_key(self) -> bool:
        """Return True if any key of the keyring is valid now."""
        return self._keyring.any_usable(self._now())

    async def bearer(self, key: str, address: str) -> Principal:
        """Principal of a key. Raises `ProblemError`: `unauthenticated` for every invalid key alike, `too_many` after
        too many failures from the address or with the key; and `Unavailable` if `ACCESS` cannot be read.
        """
        id_ = keys.key_id(key) or ""
        self._check_rate_limit(id_, address)
        if id_ != LOCAL:
            await self._read_to_end(again=bool(id_) and self._key(id_) is None)
        known = self._key(id_)
        right = hmac.compare_digest(known[1] if known else _NO_HASH, keys.key_hash(key))
        if not (known and right):
            self._count_failure(id_, address)
            raise unauthenticated()
        self._recent.add(f"{address_block(address)} {id_}")
        return known[0]

    def redeem_link(self, ticket: str, address: str) -> Principal:
        """Principal of a sign-in link's ticket, which is void afterwards. Raises `ProblemError` as `bearer` does."""
        self._check_rate_limit("", address)
        who = self.sign_in_links.redeem(ticket, self._now())
        if who is None:
            self._count_failure("", address)
            raise unauthenticated()
        return who

    async def session(self, cookie: str) -> tuple[Principal, Session] | None:
        """Principal and session of a cookie; None if the session has expired, its key is no longer valid, or the
        signature is wrong. Raises `Unavailable`.
        """
        await self._read_to_end()
        session = sessions.decode_cookie(cookie, self._keyring.secret, self._now())
        known = self._key(session.key, session=True, name=session.name) if session else None
        if session is None or known is None or not sessions.is_of_key(session, known[1]):
            return None
        return known[0], session

    async def start_session(self, who: Principal) -> str:
        """Value of the cookie of a new session, which ends after 12 hours or with its key. Raises `ProblemError`
        (`unauthenticated`) if the key is no longer valid, and `Unavailable`.
        """
        await self.open()
        known = self._key(who.key)
        if known is None:
            raise unauthenticated()
        made = self._keyring.keys.get(who.key)
        until = made.fact.expires_at if made else None
        session = sessions.new_session(who.key, known[1], who.name, now=self._now(), until=until, id_=clock.token())
        return sessions.encode_cookie(session, self._keyring.secret)

    def csrf(self, session: Session) -> str:
        """CSRF token of a session, in hex."""
        return sessions.csrf_token(session, self._keyring.secret)

    def is_csrf_token(self, session: Session, shown: str) -> bool:
        """Return True if `shown` is the CSRF token of the session. Takes the same time for any token."""
        return hmac.compare_digest(self.csrf(session).encode(), shown.encode())

    def is_valid(self, who: Principal) -> bool:
        """Return True if the key of the principal is still valid, as far as `ACCESS` was read."""
        return self._key(who.key) is not None

    def count_decision(self, who: Principal) -> None:
        """Count a decision by the principal's key. Raises `ProblemError` (`too_many`) beyond 120 at once and 120 a
        minute.

        Holders of the token of the data folder are not counted.
        """
        if who.auth == LOCAL:
            return
        now = _clock_s()
        if wait_s := self._decisions.wait_s(who.key, now):
            raise rate_limited("decisions", wait_s)
        self._decisions.consume(who.key, now)

    def _key(self, id_: str, *, session: bool = False, name: str = "") -> tuple[Principal, str] | None:
        """Principal and hash (hex) of a valid key; None if it is unknown, expired or revoked. `session`: signed in by a
        session; `name` is the name of a session that the token of the data folder started.
        """
        if id_ == LOCAL:
            token = self.entry.local
            return (local_principal(name, session=session), keys.key_hash(token)) if token else None
        key = self._keyring.usable(id_, self._now())
        if key is None:
            return None
        auth = f"{'session' if session else 'key'}:{key.id}"
        return Principal(key.name, key.role, auth, key.id, key.scopes), key.sha256

    def _check_rate_limit(self, id_: str, address: str) -> None:
        """Raise `ProblemError` (`too_many`) if the address, or the key `id_` from anywhere, had too many failures.

        A key that signed in from the address before is let through: others' failures cannot lock its owner out.
        """
        where, now = address_block(address), _clock_s()
        if f"{where} {id_}" in self._recent:
            return
        waits = (self._failures_of_address.wait_s(where, now), self._failures_of_key.wait_s(id_, now) if id_ else 0)
        if wait_s := max(waits):
            raise rate_limited("attempts", wait_s)

    def _count_failure(self, id_: str, address: str) -> None:
        """Count a failed attempt for the address and, if `id_` is not empty, for the key."""
        now = _clock_s()
        self._failures_of_address.consume(address_block(address), now)
        if id_:
            self._failures_of_key.consume(id_, now)

    async def _read_to_end(self, *, again: bool = False) -> None:
        """Return when `ACCESS` is read to an end that was asked for at most 1 s ago. Raises `Unavailable`.

        `again`: ask for the end anew, for a key that is not known yet. Calls at the same time share one read.
        """
        after_s = _clock_s() - (0 if again else _FRESH_S)
        while self._read_at_s < after_s:
            if self._reading is None:
                self._reading = asyncio.create_task(self._read_to_end_now())
                self._reading.add_done_callback(self._reading_done)
            await asyncio.shield(self._reading)

    def _reading_done(self, proving: "asyncio.Task[None]") -> None:
        """Clear the read that ended. Marks its error as retrieved, since every waiting caller got it."""
        self._reading = None
        if not proving.cancelled():
            proving.exception()

    async def _read_to_end_now(self) -> None:
        """Ask for the end of `ACCESS` and wait until it is read, for 5 s at most. Raises `Unavailable`.

        Restarts the follower if the stream is another one than before, or shorter than what was read.
        """
        started_s = _clock_s()
        try:
            end = await self._log.end()
        except Refused as error:
            raise Unavailable(f"The keys in ACCESS cannot be read: {error}") from error
        if self._end and (end.created != self._end.created or end.seq < self._seq):
            self._keyring, self._seq = Keyring(), 0
            self._restart.set()
        self._end = end
        try:
            async with asyncio.timeout(_FOLD_WITHIN_S):
                while self._seq < end.seq:
                    self._advanced.clear()
                    await self._advanced.wait()
        except TimeoutError as error:
            raise Unavailable("The keys in ACCESS could not be read in time.") from error
        self._read_at_s = started_s


def unauthenticated() -> ProblemError:
    """Problem of a missing or invalid key; the reason is not disclosed. The caller raises it."""
    text = "This takes a valid key, as in Authorization: Bearer dsr_…; dossier sends the one in DOSSIER_API_KEY."
    return ProblemError("unauthenticated", text, headers={"WWW-Authenticate": 'Bearer realm="dossier"'})


def rate_limited(what: str, wait_s: float) -> ProblemError:
    """Problem of too many attempts or decisions (`what`), with `Retry-After`. The caller raises it."""
    seconds = max(1, round(wait_s + 0.5))
    text = f"Too many {what}; try again in {seconds} s."
    return ProblemError("too_many", text, headers={"Retry-After": str(seconds)})


def _clock_s() -> float:
    return asyncio.get_running_loop().time()
