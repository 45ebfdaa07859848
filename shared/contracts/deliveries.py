"""Deliveries of events to webhooks: the slots of the stream `DELIVERIES`.

A *delivery* is one event for one endpoint. It is asked for once, and attempted until it is delivered or given up. Each
is a write-once slot: `delivery.<endpoint>.<run>.<event>.asked.<ask>` and
`delivery.<endpoint>.<run>.<event>.tried.<ask>.<n>`. Sending it again by hand is one more ask.
"""

import re
from datetime import datetime
from typing import Annotated, Final, Literal, get_args

from msgspec import Meta, Struct

from shared.contracts.evidence import Failure
from shared.contracts.facts import Outcome
from shared.contracts.subjects import RUN, is_token

DELIVERIES: Final = "DELIVERIES"
DELIVERY_SUBJECTS: Final = ("delivery.>",)
NOTICES_CONSUMER: Final = "notices"
"""The durable consumer of `RESEARCH` that hands out the facts of which endpoints are notified."""
NOTICE_SUBJECTS: Final = (f"{RUN}.*.hold.*", f"{RUN}.*.extension.*.*", f"{RUN}.*.completed")

EventType = Literal["hold.opened", "deadline.near", "run.ended"]
EVENT_TYPES: Final[tuple[EventType, ...]] = get_args(EventType)
DeliveryResult = Literal["delivered", "failed", "gave_up", "moot", "disabled"]
"""`failed` is tried again; `moot` was not sent, because the hold is over; `disabled`: the endpoint answered that it is
gone."""

_EVENTS: Final[dict[str, EventType]] = {"hold": "hold.opened", "near": "deadline.near", "ended": "run.ended"}
_EVENT: Final = re.compile(r"hold-{0}|near-{0}(?:-{0})?|ended".format("[1-9][0-9]{0,8}"))
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,8}")
_Moment = Annotated[datetime, Meta(tz=True)]


class Delivery(Struct, frozen=True):
    """One event for one endpoint.

    `event` is `hold-<round>`, `near-<round>`, `ended`, or `near-<round>-<n>` for the deadline of the `n`-th extension.
    """

    endpoint: str
    run: str
    event: str

    @property
    def id(self) -> str:
        """The delivery's id, for people and the API: `<endpoint>.<run>.<event>`."""
        return f"{self.endpoint}.{self.run}.{self.event}"

    @property
    def event_type(self) -> EventType:
        """The type of the event."""
        return _EVENTS[self.event.partition("-")[0]]

    @property
    def round(self) -> int:
        """The round of the event; 0 for the end of the run."""
        return int(self._numbers[0]) if self._numbers else 0

    @property
    def extension(self) -> int:
        """The number of the hold's extension that set the deadline; 0 for none."""
        return int(self._numbers[1]) if len(self._numbers) > 1 else 0

    @property
    def _numbers(self) -> list[str]:
        """The numbers in `event`, as text."""
        return self.event.split("-")[1:]

    @property
    def event_id(self) -> str:
        """The event's id for all endpoints: the `webhook-id` of every attempt, by which receivers drop repeats."""
        return f"{self.run}-{self.event}"

    @property
    def subjects(self) -> str:
        """Subject pattern of all its slots."""
        return f"delivery.{self.id}.>"

    def asked(self, ask: int) -> str:
        """Subject of its `ask`-th ask (from 1)."""
        return f"delivery.{self.id}.asked.{ask}"

    def tried(self, ask: int, n: int) -> str:
        """Subject of the `n`-th attempt (from 1) after its `ask`-th ask."""
        return f"delivery.{self.id}.tried.{ask}.{n}"


class DeliverySlot(Struct, frozen=True):
    """One slot of a delivery: an ask if `n` is 0, else an attempt."""

    delivery: Delivery
    ask: int
    n: int = 0


class WebhookData(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The `data` of a webhook. Its other fields have the type and the time of the event.

    A hold and a near deadline have `round`, `deadline` and the `digest` of the evidence. An end has `outcome`, `ok`,
    `reason` and, if a person ended the run, `by`. The report is not included.
    """

    run_id: str
    q: str
    requested_by: str = ""
    round: int | None = None
    deadline: _Moment | None = None
    digest: str | None = None
    outcome: Outcome | None = None
    ok: bool | None = None
    reason: str = ""
    by: str = ""


class _Record(Struct, frozen=True, kw_only=True, tag_field="type"):
    """Base of the records of deliveries. Sets the field of their tag."""


class DeliveryAsked(_Record, frozen=True, kw_only=True, tag="delivery.asked.v1"):
    """An event is to be delivered to an endpoint, at `due` or soon after."""

    told: WebhookData
    happened_at: _Moment
    due: _Moment
    fact_seq: int
    """Stream sequence in `RESEARCH` of the fact that the event reports."""
    by: str = ""
    """The person who sent it again; empty for the first time."""


class DeliveryTried(_Record, frozen=True, kw_only=True, tag="delivery.tried.v1"):
    """One attempt to deliver, with its result, and the time of the next attempt (`due`) if there is one."""

    result: DeliveryResult
    status: int | None = None
    """The HTTP status that was answered."""
    error: Failure | None = None
    duration_s: float = 0.0
    due: _Moment | None = None


Record = DeliveryAsked | DeliveryTried


def parse_delivery(text: str) -> Delivery | None:
    """Return the delivery with this id, or `None` if the id is malformed."""
    endpoint, run, event = parts if len(parts := text.split(".")) == 3 else ("", "", "")
    return Delivery(endpoint, run, event) if is_token(endpoint) and is_token(run) and _EVENT.fullmatch(event) else None


def parse_delivery_slot(subject: str) -> DeliverySlot | None:
    """Return the slot that a subject names, or `None` for any other subject."""
    match subject.split("."):
        case ["delivery", endpoint, run, event, ("asked" | "tried") as what, *numbers]:
            delivery = parse_delivery(f"{endpoint}.{run}.{event}")
            fits = len(numbers) == (1 if what == "asked" else 2) and all(map(_NUMBER.fullmatch, numbers))
            return DeliverySlot(delivery, *map(int, numbers)) if delivery and fits else None
        case _:
            return None


def hold_event(round_: int) -> str:
    """Event name of the hold that opened in this round."""
    return f"hold-{round_}"


def near_event(round_: int, extension: int = 0) -> str:
    """Event name of the near deadline of this round's hold, after its `extension`-th extension (0 for none)."""
    return f"near-{round_}-{extension}" if extension else f"near-{round_}"


ENDED: Final = "ended"
"""The event that a run ended."""


def asked_subjects(endpoint: str) -> str:
    """Subject pattern of all asks for an endpoint."""
    return f"delivery.{endpoint}.*.*.asked.*"


def endpoint_consumer(endpoint: str) -> str:
    """Name of the durable consumer that hands out an endpoint's asks."""
    return f"tell-{endpoint}"


def tried_subjects(endpoint: str) -> str:
    """Subject pattern of all attempts for an endpoint."""
    return f"delivery.{endpoint}.*.*.tried.*.*"


def first_asked_subjects(endpoint: str = "*", run: str = "*") -> str:
    """Subject pattern of the first asks, of all endpoints and runs unless they are named."""
    return f"delivery.{endpoint}.{run}.*.asked.1"
