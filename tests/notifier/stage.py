"""A notifier over logs in memory, on virtual time, with endpoints that answer by script."""

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from pydantic import SecretStr

from services.notifier.deliver import Deliverer, DeliveryContext
from services.notifier.enqueue import Enqueuer
from services.notifier.schedule import Answer
from shared.contracts import envelope
from shared.contracts.deliveries import (
    EVENT_TYPES,
    NOTICE_SUBJECTS,
    NOTICES_CONSUMER,
    asked_subjects,
    endpoint_consumer,
    parse_delivery,
)
from shared.contracts.envelope import Event
from shared.contracts.facts import DecisionApproved, Fact, HoldExtended, HoldOpened, RunAccepted, RunCompleted
from shared.contracts.messages import Fill
from shared.contracts.subjects import Slot
from shared.nats.delivery_consumers import ACK_WAIT_S
from shared.runtime.deliveries import DeliveryHistory, encode_delivery, load_histories
from shared.runtime.endpoints import WebhookEndpoint, Webhooks
from shared.runtime.memory import MemoryLog
from tests.virtual import now

SECRET = f"whsec_{base64.b64encode(bytes(range(32))).decode()}"
OK = Answer(status=200)
DOWN = Answer(status=500)


class Sent(NamedTuple):
    """One message as it left."""

    endpoint: str
    headers: dict[str, str]
    body: bytes
    at: datetime

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        return json.loads(self.body)


def endpoint(name: str = "ops", **more: Any) -> WebhookEndpoint:
    how: dict[str, Any] = {"kind": "standard", "events": frozenset(EVENT_TYPES), "keys": (SecretStr(SECRET),)}
    return WebhookEndpoint(name=name, url=SecretStr(f"https://{name}.example.com/"), **(how | more))


class World:
    """Everything but the processes of the notifier: the logs, and the endpoints. Each `takes_s` to answer."""

    def __init__(self, *endpoints: WebhookEndpoint, near: timedelta = timedelta(minutes=30)) -> None:
        self.webhooks = Webhooks(endpoints or (endpoint(),), near=near)
        self.research, self.deliveries = MemoryLog(now=now), MemoryLog(now=now)
        self.research.add_consumer(NOTICES_CONSUMER, *NOTICE_SUBJECTS, max_ack_pending=256, ack_wait_s=ACK_WAIT_S)
        for each in self.webhooks.endpoints:
            self.deliveries.add_consumer(
                endpoint_consumer(each.name), asked_subjects(each.name), max_ack_pending=100_000, ack_wait_s=ACK_WAIT_S
            )
        self.sent: list[Sent] = []
        self.answers: dict[str, Callable[[], Answer]] = {}
        self.takes_s: dict[str, float] = {}

    async def send(self, url: str, headers: Any, body: bytes) -> Answer:
        name = url.removeprefix("https://").partition(".")[0]
        self.sent.append(Sent(name, dict(headers), body, now()))
        await asyncio.sleep(self.takes_s.get(name, 0.01))
        return self.answers.get(name, lambda: OK)()

    def answer(self, name: str, *answers: Answer, then: Answer = OK) -> None:
        """What an endpoint answers, in order, then for ever."""
        left = list(answers)
        self.answers[name] = lambda: left.pop(0) if left else then

    @asynccontextmanager
    async def notifying(self) -> AsyncGenerator[asyncio.Event]:
        """One notifier; killed at the end, as by `kill -9`. The event stops it gracefully."""
        stop = asyncio.Event()
        where = DeliveryContext(self.research, self.deliveries, self.send, now, "https://dossier.example.com")
        tasks = [asyncio.create_task(Deliverer(each, where).run(stop)) for each in self.webhooks.endpoints]
        tasks.append(asyncio.create_task(Enqueuer(self.research, self.deliveries, self.webhooks, now).run()))
        try:
            yield stop
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def record(self, slot: Slot, fact: Fact) -> None:
        data = envelope.encode(slot, Event(fact, "test", now()))
        await self.research.fill([Fill(slot.subject, data)])

    async def accept(self, run: str = "r1", *, q: str = "What do cats do?", approval: Any = "required") -> None:
        fact = RunAccepted(q=q, request_seq=1, request_sha256="0", approval=approval, approval_timeout_s=7_200)
        await self.record(Slot(run, "accepted"), fact)

    async def hold(self, run: str = "r1", *, for_s: float = 7_200, round_: int = 1, **asked: Any) -> None:
        """A run that waits for a person."""
        await self.accept(run, **asked)
        deadline = now() + timedelta(seconds=for_s)
        await self.record(Slot(run, "hold", round_), HoldOpened(digest="d" * 64, deadline=deadline))

    async def extend(self, number: int = 1, *, by_s: float, run: str = "r1") -> None:
        """Its hold waits until so long from now."""
        fact = HoldExtended(by="ada", via="api", deadline=now() + timedelta(seconds=by_s))
        await self.record(Slot(run, "extension", 1, number), fact)

    async def decide(self, run: str = "r1") -> None:
        await self.record(Slot(run, "decision", 1), DecisionApproved(by="ada", via="api"))

    async def end(self, run: str = "r1", **more: Any) -> None:
        fact = RunCompleted(**({"run_id": run, "ok": True, "outcome": "reported"} | more))
        await self.record(Slot(run, "completed"), fact)

    async def story(self, delivery_id: str) -> DeliveryHistory:
        delivery = parse_delivery(delivery_id)
        assert delivery
        [story] = await load_histories(self.deliveries, [delivery])
        return story

    async def ask_again(self, delivery_id: str) -> None:
        story = await self.story(delivery_id)
        again = story.asked[story.ask]
        subject = story.delivery.asked(story.ask + 1)
        await self.deliveries.fill([encode_delivery(subject, again, source="test", time=now())])

    def told(self, name: str = "ops") -> list[str]:
        """The events of which an endpoint was told, once for each time."""
        return [sent.id for sent in self.sent if sent.endpoint == name]

    def subjects(self) -> Iterable[str]:
        return [message.subject for message in self.deliveries.messages]
