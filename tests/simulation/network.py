"""The server, and everybody's own way to it: what is sent may come late, twice or never, and so may the answer.

What is sent is numbered for each process, so that a fault can name the one message that it befalls. The promises of
the connection are those of the real one: a fill goes on until the server has answered, everything else raises
`Unavailable` after five seconds, and each answer that is awaited ends with the connection.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from random import Random  # noqa: TID251  seeded
from typing import Any, Final, TypeVar

from shared.contracts.messages import Fill, Message
from shared.contracts.topology import Limits
from shared.errors import Diverged, Refused, Unavailable
from shared.nats.horizon import Horizon
from shared.runtime.log import Consumer, End, Filled, Full, Hint, LogCheck
from shared.runtime.memory import MemoryLog
from tests.simulation.faults import Hit, OnMessage
from tests.simulation.handing import Order, at_once
from tests.simulation.loop import OUTSIDE, Host, VirtualLoop, moment

T = TypeVar("T")
_WITHIN_S: Final = 5.0
_AGAIN_S: Final = 0.1
_BATCHED: Final = 4
_CHUNKS: Final = (1, 2, 7, 500)


class Network:
    """The one log, who can reach it, and an account of everything that is sent."""

    def __init__(
        self, loop: VirtualLoop, limits: Limits, *, hits: Sequence[OnMessage], pace_s: float, seed: int
    ) -> None:
        self.loop = loop
        self.log = MemoryLog(limits=limits, now=lambda: moment(loop.time()))
        self.account: list[tuple[float, str, str]] = []
        self.serves = True
        self.sent: dict[str, list[str]] = {}
        """What each process has sent, all its lives long."""
        self.kill: Callable[[Host, OnMessage], None] = lambda host, hit: None
        self._hits = {(hit.process, hit.number): hit for hit in hits}
        self._pace_s = pace_s
        self._rngs: dict[str, Random] = {}
        self._seed = seed
        self._connections: list[Connection] = []

    def connect(self, host: Host) -> "Connection":
        """A connection for this process."""
        rng = self._rngs.setdefault(host.name, Random(f"{self._seed} {host.name}"))
        connection = Connection(self, host, rng, self._pace_s)
        if not self.serves:
            connection.cut(noticed_s=0.0)
        self._connections.append(connection)
        return connection

    def say(self, who: str, what: str) -> None:
        """Put it on the record."""
        self.account.append((self.loop.time(), who, what))

    def later(self, at: float, call: Callable[..., object], *args: object) -> None:
        """Call this at that time, in no process."""
        self.loop.call_at(at, call, *args, context=OUTSIDE)

    def next_of(self, process: str, what: str) -> OnMessage | None:
        """One more message of this process; the fault that befalls it."""
        sent = self.sent.setdefault(process, [])
        sent.append(what)
        return self._hits.get((process, len(sent)))

    def stored(self, subject: str) -> Message | None:
        """What is stored there, as whoever stands at the server sees it."""
        return at_once(self.log.last([subject])).get(subject)

    def restart(self, *, forget_s: float) -> set[str]:
        """The server dies, and forgets what it handed out in its last instant: the subjects of these tasks."""
        self.serves = False
        for connection in list(self._connections):
            connection.cut(noticed_s=0.0)
        return self.log.forget(self.loop.time() - forget_s)

    def serve(self) -> None:
        """The server is back."""
        self.serves = True
        for connection in list(self._connections):
            connection.mend()

    def drop(self, connection: "Connection") -> None:
        """Its process is gone."""
        self._connections.remove(connection)


class Connection:
    """A `Log`, as one process has it."""

    def __init__(self, network: Network, host: Host, rng: Random, pace_s: float) -> None:
        self.host = host
        self.horizon = Horizon()
        self.known_at: dict[str, float] = {}
        """As of when this process last learned from the server whether each outcome is there, by its subject."""
        self.reads_from = 0.0
        """Until then the reader of the log is held up."""
        self._network = network
        self._log = network.log
        self._rng = rng
        self._pace_s = pace_s
        self._session = 0
        self._arrival = 0.0
        self._up = asyncio.Event()
        self._up.set()
        self._awaited: dict[asyncio.Future[Any], None] = {}
        self._orders: dict[Order, None] = {}
        self._filling: set[asyncio.Task[list[Filled]]] = set()

    # Being there

    @property
    def up(self) -> bool:
        """Whether the server can be reached."""
        return self._up.is_set()

    @property
    def session(self) -> int:
        """How often the connection was lost."""
        return self._session

    def cut(self, *, noticed_s: float) -> None:
        """The connection goes; the server notices after a while, and hands out into the void until then."""
        self._session += 1
        self.horizon.reset()
        self._up.clear()
        awaited, self._awaited = self._awaited, {}
        for answer in awaited:
            if not answer.done() and not self.host.dead:
                answer.set_exception(Unavailable("The connection went down before the answer."))
        for order in self._orders:
            order.forget(noticed_s)

    def mend(self) -> None:
        """The connection is back."""
        self._up.set()
        for order in self._orders:
            order.place()

    def close(self) -> None:
        """The process is gone, and the server knows."""
        self.cut(noticed_s=0.0)
        self._network.drop(self)

    def delay_s(self) -> float:
        """How long the next message is under way."""
        return self._pace_s * (0.1 + self._rng.random())

    # Asking

    @property
    def trouble(self) -> str | None:
        """None: no disk is full here."""
        return None

    async def wait_writable(self) -> None:
        """There is always some."""

    async def fill(self, fills: Sequence[Fill], *, session: int | None = None) -> list[Filled]:
        """Goes on when whoever waits for it is gone, as the real one does."""
        filling = asyncio.ensure_future(self._fill(fills, session))
        self._filling.add(filling)
        filling.add_done_callback(self._filling.discard)
        epoch = self.horizon.epoch
        filled = await asyncio.shield(filling)
        self.horizon.advance(filled, since=epoch)
        return filled

    async def pad(self, up_to: int, *, session: int) -> None:
        if session != self._session:
            raise Unavailable("The session of the connection is over.")
        await self.ask(f"pad to {up_to}", lambda: at_once(self._log.pad(up_to, session=self._log.session)))

    async def _fill(self, fills: Sequence[Fill], session: int | None) -> list[Filled]:
        answers: dict[int, Filled] = {}
        while missing := [place for place in range(len(fills)) if place not in answers]:
            if not self.up:
                await self._up.wait()
            if session not in (None, self._session):
                raise Unavailable("The session of the connection is over.")
            together = [missing] if len(missing) > _BATCHED else [[place] for place in missing]
            asked = [(places, await self._asked_to_fill([fills[place] for place in places])) for places in together]
            for places, future in asked:
                try:
                    answers.update(zip(places, await future, strict=True))
                except Unavailable:
                    await asyncio.sleep(_AGAIN_S)
        return [answers[place] for place in range(len(fills))]

    async def _asked_to_fill(self, fills: Sequence[Fill]) -> "asyncio.Future[list[Filled]]":
        what = "fill " + " ".join(fill.subject.removeprefix("research.") for fill in fills)
        return await self._send(what, lambda: _filled(self._log, fills))

    async def publish(self, subject: str, data: bytes, headers: Mapping[str, str] = {}) -> int:
        text = data.decode(errors="replace")
        return await self.ask(f"publish {subject} {text}", lambda: at_once(self._log.publish(subject, data, headers)))

    async def last(self, subjects: Sequence[str], *, leader: bool = False) -> dict[str, Message]:
        def read() -> dict[str, Message]:
            self.known_at |= dict.fromkeys(subjects, self._network.loop.time())
            return at_once(self._log.last(subjects, leader=leader))

        return await self.ask(f"read {len(subjects)} slots", read)

    async def at(self, seq: int, *, leader: bool = False) -> Message | None:
        return await self.ask(f"read {seq}", lambda: at_once(self._log.at(seq)))

    async def end(self) -> End:
        return await self.ask("ask for the end", lambda: at_once(self._log.end()))

    async def history(self, pattern: str, *, after: int = 0) -> AsyncIterator[Message]:
        raise NotImplementedError
        yield  # type: ignore[unreachable]

    async def put(self, text: str) -> str:
        return await self.ask("freeze a text", lambda: at_once(self._log.put(text)))

    async def get(self, sha256: str) -> str | None:
        return await self.ask("read a text", lambda: at_once(self._log.get(sha256)))

    async def ask(self, what: str, do: Callable[[], T]) -> T:
        """Send, and wait for the answer."""
        return await (await self._send(what, do))

    async def _send(self, what: str, do: Callable[[], T]) -> "asyncio.Future[T]":
        """Send, and return the answer to come."""
        await self._up_soon()
        loop = self._network.loop
        answer: asyncio.Future[T] = loop.create_future()
        self._awaited[answer] = None
        hit = self._dispatch(what, do, answer)
        if hit and hit.what in (Hit.LOSE, Hit.LOSE_ANSWER, Hit.DELAY):
            self._network.later(loop.time() + _WITHIN_S, self._overdue, answer)
        await self._unless_dead()
        return answer

    async def post(self, what: str, do: Callable[[], object]) -> None:
        """Send; nothing is answered."""
        await self._up_soon()
        self._dispatch(what, do, None)
        await self._unless_dead()

    async def _up_soon(self) -> None:
        if self.host.dead:
            raise Unavailable("This process is no more.")
        if not self.up:
            try:
                async with asyncio.timeout(_WITHIN_S):
                    await self._up.wait()
            except TimeoutError:
                raise Unavailable("The server cannot be reached.") from None

    async def _unless_dead(self) -> None:
        """A process that was killed just now does not come to its next line."""
        if self.host.dead:
            await self._network.loop.create_future()

    # Under way

    def _dispatch(self, what: str, do: Callable[[], T], answer: "asyncio.Future[T] | None") -> OnMessage | None:
        hit = self._network.next_of(self.host.name, what)
        if hit and hit.what is Hit.KILL_BEFORE:
            self._network.say(self.host.name, f"is killed before it can {what}")
            self._network.kill(self.host, hit)
            return hit
        if hit and hit.what is Hit.LOSE:
            self._network.say(self.host.name, f"{what}: lost on the way")
            return hit
        now = self._network.loop.time()
        self._arrival = arrival = max(now + self.delay_s(), self._arrival)
        session: int | None = self._session
        if hit and hit.what is Hit.DELAY:
            arrival, session = arrival + hit.seconds, None
        self._network.later(arrival, self._arrive, session, what, do, answer, hit)
        if hit and hit.what is Hit.REPEAT:
            self._network.later(arrival + hit.seconds, self._arrive, None, f"{what} (again)", do, None, None)
        return hit

    def _arrive(
        self,
        session: int | None,
        what: str,
        do: Callable[[], T],
        answer: "asyncio.Future[T] | None",
        hit: OnMessage | None,
    ) -> None:
        if session is not None and session != self._session:
            return
        try:
            result: T | Exception = do()
        except (Refused, Unavailable) as error:
            result = error
        kind = hit.what if hit else None
        lost = {Hit.KILL_AFTER: ", and is killed before it hears", Hit.LOSE_ANSWER: ", but never hears"}.get(kind, "")
        self._network.say(self.host.name, f"{what}{_told(result)}{lost}")
        if hit and kind is Hit.KILL_AFTER:
            self._network.kill(self.host, hit)
        elif answer and kind is not Hit.LOSE_ANSWER:
            now = self._network.loop.time()
            self._network.later(now + self.delay_s(), self._hear, self._session, answer, result)

    def _hear(self, session: int, answer: "asyncio.Future[T]", result: T | Exception) -> None:
        self._awaited.pop(answer, None)
        if session != self._session or answer.done():
            return
        if isinstance(result, Refused | Unavailable):
            answer.set_exception(result)
        else:
            answer.set_result(result)

    def _overdue(self, answer: "asyncio.Future[Any]") -> None:
        self._awaited.pop(answer, None)
        if not answer.done() and not self.host.dead:
            answer.set_exception(Unavailable("The server gave no answer in time."))

    # Listening

    async def follow(self, after: int, *, check: LogCheck | None = None) -> AsyncGenerator[Sequence[Message]]:
        loop = self._network.loop
        checked: int | None = None
        while True:
            if check and checked != self._session:
                await self._up.wait()
                checked = self._session
                try:
                    await check()
                except Diverged:
                    raise
                except Unavailable:
                    checked = None
                    await asyncio.sleep(_AGAIN_S)
                    continue
            while len(self._log.messages) <= after:
                await self._log.grown()
            await asyncio.sleep(max(self.delay_s(), self.reads_from - loop.time()))
            await self._up.wait()
            if self.reads_from <= loop.time() and (
                chunk := self._log.messages[after : after + self._rng.choice(_CHUNKS)]
            ):
                after += len(chunk)
                yield chunk

    async def hint(self, subject: str, data: bytes) -> None:
        await self.post(f"hint {subject}", lambda: at_once(self._log.hint(subject, data)))

    async def hints(self, pattern: str) -> AsyncGenerator[Hint]:
        async with aclosing(self._log.hints(pattern)) as hints:
            async for hint in hints:
                if self.up:
                    yield hint

    @asynccontextmanager
    async def tasks(self, consumer: Consumer, *, at_most: int) -> "AsyncGenerator[Order]":
        order = Order(self, self._network, consumer, at_most)
        self._orders[order] = None
        await self._up.wait()
        order.place()
        try:
            yield order
        finally:
            await order.close()
            self._orders.pop(order, None)


def _filled(log: MemoryLog, fills: Sequence[Fill]) -> list[Filled]:
    return at_once(log.fill(fills))


def _told(result: object) -> str:
    if isinstance(result, list):
        return " → " + " ".join("full" if isinstance(one, Full) else f"at {getattr(one, 'seq', one)}" for one in result)
    return f" → {result}" if isinstance(result, int | Exception) else ""
