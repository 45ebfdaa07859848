"""Turn holds and ends in `RESEARCH` into delivery requests, one for each endpoint that subscribes to the event.

Request first, acknowledge second: a crash between the two redelivers the fact, and its slots are then found full.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Final

from services.notifier.deliver import SOURCE
from services.notifier.schedule import SPAN
from shared.contracts import envelope
from shared.contracts.deliveries import (
    ENDED,
    NOTICES_CONSUMER,
    Delivery,
    DeliveryAsked,
    WebhookData,
    hold_event,
    near_event,
)
from shared.contracts.envelope import Event
from shared.contracts.facts import HoldExtended, HoldOpened, RunAccepted, RunCompleted
from shared.contracts.messages import Message
from shared.contracts.subjects import Slot, parse_slot
from shared.errors import ContractError, DossierError, Refused
from shared.runtime.deliveries import encode_delivery
from shared.runtime.endpoints import Webhooks
from shared.runtime.log import Log, TaskDelivery

logger = logging.getLogger(__name__)

AT_ONCE: Final = 32
_AGAIN_S: Final = 1.0
_SETTLED_S: Final = 3.0
"""Seconds after which it is known whether a hold without approval waits for a decision, and whether an
extension was in time.
"""


class Enqueuer:
    """Requests deliveries for the facts of all runs."""

    def __init__(self, research: Log, deliveries: Log, webhooks: Webhooks, now: Callable[[], datetime]) -> None:
        self._research = research
        self._deliveries = deliveries
        self._webhooks = webhooks
        self._now = now

    async def run(self) -> None:
        """Enqueue until cancelled, up to `AT_ONCE` facts at a time."""
        async with self._research.tasks(NOTICES_CONSUMER, at_most=AT_ONCE) as tasks:
            async for facts in tasks:
                await asyncio.gather(*(self._handle(fact) for fact in facts))
                await tasks.release(len(facts))

    async def _handle(self, fact: TaskDelivery) -> None:
        """Enqueue for one fact, then acknowledge it, or return it with a delay if it has to wait or the log does not
        answer.
        """
        try:
            wait_s = await self._enqueue(fact.message)
        except DossierError as error:
            logger.warning(
                "The deliveries for %s could not be requested and are retried: %s",
                fact.message.subject,
                error,
                extra={"event": "notice.put_off"},
            )
            wait_s = _AGAIN_S
        await (fact.nak(delay_s=wait_s) if wait_s else fact.ack())

    async def _enqueue(self, message: Message) -> float:
        """Request the deliveries of a fact. Return seconds after which to look again, 0 if it is done.

        Facts older than the retry span, unreadable facts and those of unknown runs are passed over. Raises
        `DossierError` if the log refuses or does not answer.
        """
        slot = parse_slot(message.subject)
        if slot is None or self._now() - message.time > SPAN:
            return 0.0
        try:
            event = envelope.decode(message.data)
        except ContractError as error:
            logger.error(
                "%s cannot be decoded by this release, so no delivery is requested: %s",
                message.subject,
                error,
                extra={"event": "notice.unreadable", "run_id": slot.run},
            )
            return 0.0
        request = await self._accepted(slot.run)
        if request is None:
            return 0.0
        if isinstance(event.fact, HoldOpened) and request.approval == "auto":
            if (wait_s := _SETTLED_S - (self._now() - message.time).total_seconds()) > 0:
                return wait_s
            if await self._is_decided(slot):
                return 0.0
        asked = requests_for(slot, event, message, request, near=self._webhooks.near)
        fills = [
            encode_delivery(delivery.asked(1), record, source=SOURCE, time=self._now())
            for endpoint in self._webhooks.endpoints
            for named, record in asked
            if (delivery := Delivery(endpoint.name, slot.run, named)).event_type in endpoint.events
        ]
        for filled in await self._deliveries.fill(fills):
            if isinstance(filled, Refused):
                raise filled
        return 0.0

    async def _is_decided(self, hold: Slot) -> bool:
        """Return True if the round of this hold has a decision. A run without approval is held only if it is over its
        budget.
        """
        decision = Slot(hold.run, "decision", hold.round).subject
        return bool(await self._research.last([decision], leader=True))

    async def _accepted(self, run: str) -> RunAccepted | None:
        """Return the accepted request of a run; `None` if it is absent or cannot be decoded."""
        slot = Slot(run, "accepted")
        stored = (await self._research.last([slot.subject])).get(slot.subject)
        try:
            fact = envelope.decode(stored.data).fact if stored else None
        except ContractError:
            return None
        return fact if isinstance(fact, RunAccepted) else None


def requests_for(
    slot: Slot, event: Event, message: Message, request: RunAccepted, *, near: timedelta
) -> list[tuple[str, DeliveryAsked]]:
    """Return event name and request of each delivery that a fact calls for; empty for facts that notify no one.

    `near` is the time before a deadline at which `deadline.near` is due.
    """
    match event.fact:
        case HoldOpened() as hold:
            return list(_hold_requests(slot, hold, message, request, near))
        case HoldExtended(deadline=deadline, digest=digest):
            told = _hold_data(slot, request, deadline, digest)
            due = max(deadline - near, message.time + timedelta(seconds=_SETTLED_S))
            return [(near_event(slot.round, slot.index), _request_at(told, message, due))]
        case RunCompleted() as ended:
            told = WebhookData(
                run_id=slot.run,
                q=request.q,
                requested_by=request.requested_by,
                digest=ended.digest,
                outcome=ended.outcome,
                ok=ended.ok,
                reason=ended.reason,
                by=ended.by,
            )
            return [(ENDED, _request_at(told, message, message.time))]
        case _:
            return []


def _hold_requests(
    slot: Slot, hold: HoldOpened, message: Message, request: RunAccepted, near: timedelta
) -> Iterable[tuple[str, DeliveryAsked]]:
    """Yield `hold.opened`, due now, and `deadline.near` unless its time is past when the hold opens."""
    told = _hold_data(slot, request, hold.deadline, hold.digest)
    yield hold_event(slot.round), _request_at(told, message, message.time)
    if (due := hold.deadline - near) > message.time:
        yield near_event(slot.round), _request_at(told, message, due)


def _hold_data(slot: Slot, request: RunAccepted, deadline: datetime, digest: str | None) -> WebhookData:
    """Return the content of a notification about a run on hold."""
    return WebhookData(
        run_id=slot.run,
        q=request.q,
        requested_by=request.requested_by,
        round=slot.round,
        deadline=deadline,
        digest=digest,
    )


def _request_at(told: WebhookData, message: Message, due: datetime) -> DeliveryAsked:
    """Return a request that is due at `due`; the event's time is `due` if that is later than the fact."""
    return DeliveryAsked(told=told, happened_at=max(message.time, due), due=due, fact_seq=message.seq)
