"""Everybody outside: who asks and who decides, each in their own time, repeating what was not acknowledged."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from itertools import count
from typing import Any, Final, Protocol

from services.coordinator.engine.approvals import Desk
from shared.contracts import envelope
from shared.contracts.envelope import Event
from shared.contracts.evidence import Failure
from shared.contracts.facts import DecisionRevised, Fact, FetchFailed, PlanMade
from shared.contracts.messages import Fill, Message
from shared.contracts.requests import Extension, Ruling
from shared.contracts.subjects import Slot
from shared.domain.judgement import Refuse, winner
from shared.domain.roles import local
from shared.domain.run import Run
from shared.errors import Unavailable
from tests.simulation.journal import Answer, Journal
from tests.simulation.loop import BEGAN, Host, VirtualLoop
from tests.simulation.network import Connection, Network
from tests.simulation.scenario import PEOPLE, TROUBLE_ENDS, Ask, Say, Scenario
from tests.simulation.work import UNNAMED, source

SUBJECTS: Final = {"approve": "research.approved", "reject": "research.rejected", "cancel": "research.cancelled"}
MALFORMED: Final = (
    b"{", b"", b"\xff\xfe", b"[]", b"null", b'{"q": ""}', b'{"q": 7}', b'{"q": "Why?", "surprise": 1}',
    b'{"q": "Why?", "run_id": "no.token"}', b'{"q": "Why?", "run_id": "r7"}',
    b'{"q": "Why?", "approval_timeout": "soon"}', b'{"q": "Why?", "approval": "maybe"}',
    b'{"q": "Why?", "max_cost_usd": -1}', b"[" * 3_000,
)  # fmt: skip
_BAD_WORDS: Final = (b'{"run_id": "run-0"}', b'{"run_id": "a b", "by": "eve"}', b'{"run_id": "run-0", "by": " "}')
_AGAIN_S: Final = 0.5
_PATIENCE_S: Final = 20.0
_ANSWERED_WITHIN_S: Final = 8.0


Asking = Callable[[Desk], Coroutine[Any, Any, tuple[Refuse | None, Run | None]]]


class Office(Protocol):
    """A coordinator, as whoever calls its API sees it."""

    host: Host
    desk: Desk

    @property
    def alive(self) -> bool:
        """Whether anybody is there."""
        ...


class People:
    """Does what a scenario has people do."""

    def __init__(self, scenario: Scenario, loop: VirtualLoop, network: Network, offices: Sequence[Office]) -> None:
        self.journal = Journal()
        self._scenario = scenario
        self._loop = loop
        self._network = network
        self._offices = offices
        self._hosts = [loop.host(name) for name in PEOPLE]
        self._connections = {host: network.connect(host) for host in self._hosts}
        self._named: dict[str, asyncio.Future[str]] = {}
        self._busy: list[asyncio.Task[None]] = []
        self._closing: asyncio.Task[None] | None = None

    @property
    def hosts(self) -> Sequence[Host]:
        """Everybody, to be frozen or cut off."""
        return self._hosts

    def connection(self, host: Host) -> Connection:
        """Somebody's way to the server."""
        return self._connections[host]

    def begin(self) -> None:
        """Let everybody do what they do."""
        for number, ask in enumerate(self._scenario.asks):
            self._named.setdefault(ask.run, self._loop.create_future())
            self._let(number, self._ask(ask, self._whom(number)))
        for number, say in enumerate(self._scenario.words):
            self._let(number, self._say(say, self._whom(number)))
        if self._scenario.intruder:
            self._let(0, self._intrude(self._whom(0)))

    def conclude(self) -> None:
        """When the trouble is over, decide on whatever is or comes on hold."""
        self._closing = self._hosts[0].begin(self._close(self._whom(0)))

    @property
    def done(self) -> bool:
        """Whether everything was said."""
        return all(task.done() for task in self._busy)

    def faults(self) -> list[str]:
        """What went wrong with people themselves, which nothing should."""
        tasks = [*self._busy, self._closing] if self._closing else self._busy
        return [f"Somebody failed: {task.exception()!r}" for task in tasks if task.done() and task.exception()]

    def _let(self, number: int, doing: Coroutine[Any, Any, None]) -> None:
        self._busy.append(self._hosts[number % len(self._hosts)].begin(doing))

    def _whom(self, number: int) -> Connection:
        return self._connections[self._hosts[number % len(self._hosts)]]

    # Asking

    async def _ask(self, ask: Ask, connection: Connection) -> None:
        await asyncio.sleep(ask.at)
        if ask.how == "malformed":
            subject, data = "research.requested", MALFORMED[ask.fault % len(MALFORMED)]
            if ask.fault % 5 == 0:
                subject, data = "research.approved", _BAD_WORDS[ask.fault % len(_BAD_WORDS)]
            self.journal.malformed.add(data)
            await self._publish(connection, subject, data, {})
            return
        content = {"q": f"Why not {ask.run}?" if ask.how == "other" else f"Why {ask.run}?"}
        if ask.named == "seq":
            content = {"q": f"Why {ask.run} {UNNAMED}?"}
        content |= {"approval": ask.approval, "approval_timeout": ask.timeout}
        if ask.named == "run_id":
            content["run_id"] = ask.run
        headers = {"Nats-Msg-Id": ask.run} if ask.named == "msg_id" else {}
        if ask.named != "seq" and not (named := self._named[ask.run]).done():
            named.set_result(ask.run)
        seq = await self._publish(connection, "research.requested", json.dumps(content).encode(), headers)
        if not (named := self._named[ask.run]).done():
            named.set_result(f"r{seq}")

    async def _publish(self, connection: Connection, subject: str, data: bytes, headers: dict[str, str]) -> int:
        while True:
            try:
                seq = await connection.publish(subject, data, headers)
            except Unavailable:
                await asyncio.sleep(_AGAIN_S)
            else:
                self.journal.acknowledged.add(seq)
                return seq

    # Deciding

    async def _say(self, say: Say, connection: Connection) -> None:
        run = await self._when(say)
        if run is None:
            return
        hold = self._stored(f"research.run.{run}.hold.1")
        held = json.loads(hold.data)["data"]["digest"] if hold else None
        if say.verb == "extend":
            await self._extend(say, run, hold)
            return
        digest = {"none": None, "right": held, "stale": "f" * 64}[say.digest]
        exclude = {"none": (), "one": (source("everywhere").sha256,), "stranger": ("e" * 64,)}[say.exclude]
        if say.verb == "revise":
            await self._revise(say, run, connection, held, exclude)
            return
        ruling = Ruling(run_id=run, by=say.by, digest=digest, exclude=() if say.verb == "cancel" else exclude)
        if say.over == "desk":
            await self._call(say, run, lambda desk: desk.rule(say.verb, ruling, local()))  # type: ignore[arg-type]
            return
        content = {"run_id": run, "by": say.by}
        content |= {"digest": digest} if digest else {}
        content |= {"exclude": list(ruling.exclude)} if ruling.exclude else {}
        await self._publish(connection, SUBJECTS[say.verb], json.dumps(content).encode(), {})

    async def _close(self, connection: Connection) -> None:
        for patience in count():
            await asyncio.sleep(_PATIENCE_S if patience else 1.0)
            subjects = {message.subject for message in self._network.log.messages}
            ended = {subject.split(".")[2] for subject in subjects if subject.endswith(".completed")}
            for hold in sorted(subject for subject in subjects if ".hold." in subject):
                run = hold.split(".")[2]
                if run not in ended and hold.replace(".hold.", ".decision.") not in subjects:
                    content = json.dumps({"run_id": run, "by": f"closer{patience}"}).encode()
                    await self._publish(connection, SUBJECTS["approve"], content, {})

    async def _when(self, say: Say) -> str | None:
        """Wait until it is to be said, and of which run; `None` where that moment never comes."""
        if say.after == "begin":
            await asyncio.sleep(max(0.0, say.seconds - self._loop.time()))
            return await asyncio.shield(self._named[say.run])
        run = await asyncio.shield(self._named[say.run])
        while not (hold := self._stored(f"research.run.{run}.hold.1")):
            if self._stored(f"research.run.{run}.completed"):
                return None
            await self._network.log.grown()
        if say.after == "deadline":
            until = (_deadline(hold) - BEGAN).total_seconds() + say.seconds
            if until > 3 * TROUBLE_ENDS:
                return None
            await asyncio.sleep(max(0.0, until - self._loop.time()))
        else:
            await asyncio.sleep(say.seconds)
        return run

    async def _revise(
        self, say: Say, run: str, connection: Connection, held: str | None, exclude: tuple[str, ...]
    ) -> None:
        """Send the run back for another round, as a coordinator would that takes such a word, while it is on hold."""
        hold = self._stored(f"research.run.{run}.hold.1")
        if hold is None or self._stored(f"research.run.{run}.completed"):
            return
        fact = DecisionRevised(by=say.by, via="api", feedback="More.", exclude=exclude[:1], digest=held)
        await connection.fill([_fill(Slot(run, "decision", 1), fact, hold.time)])

    async def _extend(self, say: Say, run: str, hold: Message | None) -> None:
        """Want more time for a hold that is open."""
        if hold:
            until = _deadline(hold) + timedelta(seconds=say.more)
            wish = Extension(run_id=run, by=say.by, deadline=until)
            await self._call(say, run, lambda desk: desk.extend(wish, local()), until)

    async def _call(self, say: Say, run: str, ask: Asking, until: datetime | None = None) -> None:
        """Ask a coordinator, another one where that does not answer, until one does."""
        number = say.desk
        unheard = False
        while True:
            office = self._offices[number % len(self._offices)]
            number += 1
            if office.alive:
                asked_at = self._loop.time()
                asked = office.host.begin(ask(office.desk))
                await asyncio.wait({asked}, timeout=_ANSWERED_WITHIN_S)
                if asked.done() and not asked.cancelled() and not isinstance(asked.exception(), Unavailable):
                    told = self._told(say, run, *asked.result())
                    heard = Answer(say.by, say.verb, run, *told, asked_at, self._loop.time(), unheard, until)
                    self.journal.answers.append(heard)
                    return
                unheard = True
            await asyncio.sleep(_AGAIN_S)

    def _told(self, say: Say, run: str, refusal: Refuse | None, known: Run | None) -> tuple[str, str]:
        """Why not, as a code, and who won."""
        lost = refusal and known and (known.current.decision or known.completed)
        told, code = winner(known) if known and lost else "", refusal.code if refusal else ""
        self._network.say(say.by, f"asks to {say.verb} {run} → {code or 'done'} {told}")
        return code, told

    # Where there should be nobody

    async def _intrude(self, connection: Connection) -> None:
        """Write to boxes that are full, as somebody can who has the permission and leaves out the guard."""
        for ask in self._scenario.asks:
            if ask.how == "request" and (run := await asyncio.shield(self._named[ask.run])):
                for slot, fact in (
                    (Slot(run, "plan", 1), PlanMade(queries=("forged",), planner="intruder")),
                    (Slot(run, "fetch", 1, 0), FetchFailed(query="forged", error=Failure("forged", "forged"))),
                ):
                    while not self._stored(slot.subject):
                        if self._stored(f"research.run.{run}.completed"):
                            return
                        await self._network.log.grown()
                    fill = _fill(slot, fact, BEGAN)
                    self.journal.forged.add(fill.data)
                    await self._publish(connection, fill.subject, fill.data, {})

    def _stored(self, subject: str) -> Message | None:
        return self._network.stored(subject)


def _deadline(hold: Message) -> datetime:
    return datetime.fromisoformat(json.loads(hold.data)["data"]["deadline"])


def _fill(slot: Slot, fact: Fact, at: datetime) -> Fill:
    return Fill(slot.subject, envelope.encode(slot, Event(fact, "test", at)))
