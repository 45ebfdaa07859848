"""Routes of webhook deliveries, read from the log with every request."""

from collections.abc import AsyncGenerator
from typing import Annotated, Final

from fastapi import Path, Query
from msgspec.structs import replace
from pydantic import BaseModel, ConfigDict, Field

from services.coordinator.access.middleware import Caller
from services.coordinator.http.problems import ProblemError, acting_name
from services.coordinator.http.routes import WRITES, Routes
from shared.api.schemas import BY_WHOM, By
from shared.api.views import AttemptView, DeliveryPage, DeliveryView
from shared.contracts.deliveries import Delivery, EventType, first_asked_subjects, parse_delivery, parse_delivery_slot
from shared.contracts.messages import Message
from shared.contracts.subjects import TOKEN
from shared.errors import Refused
from shared.runtime import clock
from shared.runtime.deliveries import (
    MAX_ASKS,
    MAX_HISTORIES,
    DeliveryHistory,
    DeliveryState,
    encode_delivery,
    load_histories,
)
from shared.runtime.log import Log

SOURCE: Final = "dossier/coordinator"
_PAGE: Final = 1_000
"""Messages of the log in one step back."""
_STEPS: Final = 20
"""Steps in one answer: a rare state may take several answers to be found, each with the cursor of the next."""

Token = Annotated[str, Query(pattern=f"^{TOKEN.pattern}$")]
DeliveryId = Annotated[
    str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}\.[A-Za-z0-9_-]{1,64}\.((hold|near)-[1-9][0-9]{0,8}|ended)$")
]


class NewResend(BaseModel):
    """Name of the person who sends a delivery again."""

    model_config = ConfigDict(extra="forbid")

    by: By | None = Field(default=None, examples=["ada"], description=BY_WHOM)


class DeliveryRoutes:
    """Routes that list deliveries and send one again. `log` is that of the stream `DELIVERIES`."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def add_to(self, routes: Routes) -> None:
        """Register the routes."""
        resends = ("unknown_delivery", "not_tried", "asked_too_often", "not_you", *WRITES)
        routes.add("GET", "/v1/deliveries", self.list_deliveries, "read")
        routes.add("POST", "/v1/deliveries/{delivery_id}/resend", self.resend, "operate", refuses=resends, status=202)

    async def list_deliveries(
        self,
        endpoint: Token | None = None,
        run_id: Token | None = None,
        event: Annotated[list[EventType] | None, Query()] = None,
        state: Annotated[list[DeliveryState] | None, Query()] = None,
        cursor: Annotated[str | None, Query(pattern="^[0-9]{1,18}$")] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> DeliveryPage:
        """Deliveries to webhook endpoints, newest first, with their attempts.

        `event` and `state` may be given more than once. A page may have fewer than `limit` and still a `next`.
        """
        pattern = first_asked_subjects(endpoint or "*", run_id or "*")
        end = (await self._log.end()).seq + 1
        before = min(int(cursor), end) if cursor else end
        found: list[DeliveryView] = []
        for _ in range(_STEPS):
            async for seq, one in self._stories(await self._asked(pattern, before)):
                if (event and one.delivery.event_type not in event) or (state and one.state not in state):
                    continue
                found.append(delivery_view(one))
                if len(found) == limit:
                    return DeliveryPage(deliveries=found, next=_cursor(seq))
            before -= _PAGE
            if before <= 1:
                break
        return DeliveryPage(deliveries=found, next=_cursor(before))

    async def _asked(self, pattern: str, before: int) -> list[Message]:
        """First requests of deliveries that match the subject `pattern`, newest first: those among the 1,000 messages
        before the sequence `before`.
        """
        found: list[Message] = []
        async for message in self._log.history(pattern, after=max(0, before - 1 - _PAGE)):
            if message.seq >= before:
                break
            if parse_delivery_slot(message.subject):
                found.append(message)
        return found[::-1]

    async def _stories(self, asked: list[Message]) -> AsyncGenerator[tuple[int, DeliveryHistory]]:
        """Each first request's sequence and the history of its delivery, in the same order."""
        for start in range(0, len(asked), MAX_HISTORIES):
            some = asked[start : start + MAX_HISTORIES]
            for message, story in zip(
                some, await load_histories(self._log, map(_delivery, some), known=some), strict=True
            ):
                yield message.seq, story

    async def resend(self, delivery_id: DeliveryId, who: Caller, body: NewResend | None = None) -> DeliveryView:
        """Send a delivery again, under the same `webhook-id`; also to an endpoint that answered 410."""
        by = acting_name(who, body.by if body else None, "by")
        delivery = parse_delivery(delivery_id)
        [story] = await load_histories(self._log, [delivery]) if delivery else [None]
        if delivery is None or story is None or not story.ask:
            raise ProblemError("unknown_delivery", f"There is no delivery {delivery_id}.")
        if story.state == "waiting":
            text = f"Delivery {delivery_id} has not been tried yet; it is due at {story.due}."
            raise ProblemError("not_tried", text, run_id=delivery.run, state=story.state)
        if story.ask >= MAX_ASKS:
            text = f"Delivery {delivery_id} was asked for {MAX_ASKS} times; look at what the endpoint answers."
            raise ProblemError("asked_too_often", text, run_id=delivery.run, state=story.state)
        return delivery_view(await self._asked_again(story, by=by))

    async def _asked_again(self, story: DeliveryHistory, *, by: str) -> DeliveryHistory:
        """Request the delivery once more and return its history with that. If another resend took the same number
        first, that one counts. Raises `Refused`.
        """
        now = clock.now()
        again = replace(story.asked[story.ask], due=now, by=by)
        [filled] = await self._log.fill(
            [encode_delivery(story.delivery.asked(story.ask + 1), again, source=SOURCE, time=now)]
        )
        if isinstance(filled, Refused):
            raise filled
        return replace(story, asked={**story.asked, story.ask + 1: again})


def _delivery(message: Message) -> Delivery:
    """The delivery of a message of the stream `DELIVERIES`."""
    box = parse_delivery_slot(message.subject)
    assert box
    return box.delivery


def _cursor(before: int) -> str | None:
    """Cursor of the deliveries before this sequence; None at the beginning of the log."""
    return str(before) if before > 1 else None


def delivery_view(story: DeliveryHistory) -> DeliveryView:
    """The delivery with the attempts of all requests, in order."""
    delivery = story.delivery
    attempts = [tried for ask in sorted(story.tried) for _, tried in sorted(story.tried[ask].items())]
    return DeliveryView(
        delivery_id=delivery.id,
        webhook_id=delivery.event_id,
        endpoint=delivery.endpoint,
        run_id=delivery.run,
        event=delivery.event_type,
        state=story.state,
        happened_at=story.asked[min(story.asked)].happened_at,
        due=story.due,
        asks=story.ask,
        attempts=[
            AttemptView(
                result=tried.result,
                status=tried.status,
                error=tried.error.message if tried.error else None,
                duration_s=tried.duration_s,
            )
            for tried in attempts
        ],
    )
