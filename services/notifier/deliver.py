"""Deliver the pending notifications of one endpoint.

The endpoint's durable consumer hands each request to one notifier at a time and redelivers it until it is acknowledged;
the filled slots say which attempts are left. Send first, record second: a crash between the two sends again under the
same id.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from services.notifier import message
from services.notifier.http import WITHIN_S, Send
from services.notifier.schedule import Attempt, Done, Wait, next_step, record_of
from shared.contracts import deliveries as contract
from shared.contracts import envelope
from shared.contracts.deliveries import DeliveryResult, DeliverySlot, DeliveryTried, parse_delivery_slot
from shared.contracts.evidence import Failure
from shared.contracts.subjects import Slot
from shared.errors import ContractError, DossierError, Refused
from shared.runtime.aio import retry_unavailable
from shared.runtime.deliveries import DeliveryHistory, encode_delivery, load_histories
from shared.runtime.endpoints import WebhookEndpoint
from shared.runtime.log import Full, Log, Stored, TaskDelivery, Tasks

logger = logging.getLogger(__name__)

SOURCE: Final = "dossier/notifier"
AT_ONCE: Final = 4
"""Messages under way to one endpoint from one process."""
_LOOK_AGAIN_S: Final = 86_400.0
_AGAIN_S: Final = 1.0
_UNREAD: Final = timedelta(hours=1)
_GRACE_S: Final = WITHIN_S + 5.0


def ignore_attempt(_endpoint: str, _result: DeliveryResult) -> None:
    """Ignore an attempt: the default of `DeliveryContext.count`."""


class DeliveryContext(Struct, frozen=True):
    """Dependencies of a `Deliverer`: both logs, the HTTP sender, the clock, and the base URL of the web pages."""

    research: Log
    deliveries: Log
    send: Send
    now: Callable[[], datetime]
    public_url: str
    count: Callable[[str, DeliveryResult], None] = ignore_attempt
    """Called after every recorded attempt with the endpoint's name and the result."""


class Deliverer:
    """Delivers to one endpoint. A slow or dead endpoint delays no other: each has its own consumer and its own
    concurrency.
    """

    def __init__(self, endpoint: WebhookEndpoint, where: DeliveryContext) -> None:
        self._endpoint = endpoint
        self._where = where
        self._under_way: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop` is set; then wait up to `_GRACE_S` for the messages under way and cancel the rest."""
        consumer = contract.endpoint_consumer(self._endpoint.name)
        async with self._where.deliveries.tasks(consumer, at_most=AT_ONCE) as tasks:
            closing = asyncio.create_task(_close_on(stop, tasks))
            try:
                async for deliveries in tasks:
                    for delivery in deliveries:
                        task = asyncio.create_task(self._handle(delivery, tasks))
                        self._under_way.add(task)
                        task.add_done_callback(self._under_way.discard)
                if self._under_way:
                    await asyncio.wait(self._under_way, timeout=_GRACE_S)
            finally:
                await _cancel(closing, *self._under_way)

    async def _handle(self, delivery: TaskDelivery, tasks: Tasks) -> None:
        """Process one request, then acknowledge it or return it with a delay. Log errors; raise
        none but cancellation.
        """
        try:
            again = await self._process(delivery)
            if again is None:
                await delivery.ack()
            else:
                wait_s = (again - self._where.now()).total_seconds()
                await delivery.nak(delay_s=min(max(wait_s, 0.0), _LOOK_AGAIN_S))
        except DossierError as error:
            logger.warning(
                "The delivery %s could not be made and is retried: %s",
                delivery.message.subject,
                error,
                extra={"event": "delivery.put_off"},
            )
            await asyncio.sleep(_AGAIN_S)
        except Exception:
            logger.exception(
                "The delivery %s failed with an unexpected error.",
                delivery.message.subject,
                extra={"event": "delivery.defect"},
            )
        finally:
            await tasks.release()

    async def _process(self, delivery: TaskDelivery) -> datetime | None:
        """Do the next step of a request. Return when to redeliver it, or `None` if nothing is left to do.

        A request that this release cannot decode is logged and redelivered after an hour.
        """
        box = parse_delivery_slot(delivery.message.subject)
        if box is None:
            return None
        handed = delivery.message
        [story] = await retry_unavailable(
            lambda: load_histories(self._where.deliveries, [box.delivery], known=[handed])
        )
        if box.ask not in story.asked:
            logger.error(
                "%s cannot be decoded by this release; it is retried in an hour.",
                handed.subject,
                extra={"event": "delivery.unreadable"},
            )
            return self._where.now() + _UNREAD
        match next_step(story, box.ask, self._where.now()):
            case Done():
                return None
            case Wait(until=until):
                return until
            case Attempt(n=n):
                return await self._record(box, n, await self._attempt(story, box, n))

    async def _attempt(self, story: DeliveryHistory, box: DeliverySlot, n: int) -> DeliveryTried:
        """Make attempt `n` and return its record. Nothing is sent if the notification is moot or the endpoint answered
        410.
        """
        if await self._is_moot(story):
            return DeliveryTried(result="moot")
        if box.ask == 1 and await self._is_disabled():
            text = "The endpoint answered 410 Gone before; nothing was sent."
            return DeliveryTried(result="disabled", error=Failure("disabled", text))
        delivery, asked = story.delivery, story.asked[box.ask]
        sent = message.body(self._endpoint, delivery, asked, public_url=self._where.public_url)
        headers = message.headers(self._endpoint, delivery, sent, self._where.now())
        answer = await self._where.send(self._endpoint.url.get_secret_value(), headers, sent)
        return record_of(delivery, n, answer, self._where.now())

    async def _record(self, box: DeliverySlot, n: int, tried: DeliveryTried) -> datetime | None:
        """Fill the attempt's slot; return when the next attempt is due, `None` if there is none.

        If another notifier filled the slot first, return the present: look again at once. Raise `Refused` if the log
        refuses.
        """
        now = self._where.now()
        one = encode_delivery(box.delivery.tried(box.ask, n), tried, source=SOURCE, time=now)
        [filled] = await self._where.deliveries.fill([one])
        match filled:
            case Refused():
                raise filled
            case Full():
                return now
            case Stored():
                _log_result(box, n, tried)
                self._where.count(box.delivery.endpoint, tried.result)
                return tried.due

    async def _is_moot(self, story: DeliveryHistory) -> bool:
        """Return True if a deadline notification is pointless: it has passed, was extended, or the hold is decided or
        ended.
        """
        delivery = story.delivery
        if delivery.event_type != "deadline.near" or story.ask != 1:
            return False
        deadline = story.asked[1].told.deadline
        if deadline and self._where.now() >= deadline:
            return True
        over = (
            Slot(delivery.run, "decision", delivery.round),
            Slot(delivery.run, "completed"),
            Slot(delivery.run, "extension", delivery.round, delivery.extension + 1),
        )
        return bool(await self._where.research.last([slot.subject for slot in over], leader=True))

    async def _is_disabled(self) -> bool:
        """Return True if the newest recorded attempt of this endpoint was answered 410 Gone."""
        newest = await self._where.deliveries.newest(contract.tried_subjects(self._endpoint.name))
        try:
            last = envelope.decode_record(newest.data) if newest else None
        except ContractError:
            return False
        return isinstance(last, DeliveryTried) and last.result == "disabled"


def _log_result(box: DeliverySlot, n: int, tried: DeliveryTried) -> None:
    """Log the result of an attempt. The URL, which may be a secret, is never logged."""
    why = tried.error.message if tried.error else ""
    match tried.result:
        case "failed":
            logger.warning(
                "%s attempt %d: %s Again at %s.",
                box.delivery.id,
                n,
                why,
                tried.due,
                extra={"event": "delivery.failed", "run_id": box.delivery.run},
            )
        case "gave_up" | "disabled":
            logger.error(
                "%s is not delivered, after %d attempts: %s",
                box.delivery.id,
                n,
                why,
                extra={"event": "delivery.given_up", "run_id": box.delivery.run},
            )
        case "delivered" | "moot":
            logger.info(
                "%s: %s", box.delivery.id, tried.result, extra={"event": "delivery.over", "run_id": box.delivery.run}
            )


async def _close_on(stop: asyncio.Event, tasks: Tasks) -> None:
    """Close `tasks` when `stop` is set."""
    await stop.wait()
    await tasks.close()


async def _cancel(*tasks: asyncio.Task[None]) -> None:
    """Cancel the tasks and wait for them. An attempt that could not be recorded is sent again by the next notifier."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
