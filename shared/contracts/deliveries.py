"""What others are told, and how that went: the boxes of the stream `DELIVERIES`.

A *delivery* is one event told to one endpoint. It is asked for once, and tried until it is delivered or given
up; each of these is a write-once box, `delivery.<endpoint>.<run>.<event>.asked.<ask>` and
`delivery.<endpoint>.<run>.<event>.tried.<ask>.<n>`. A person who wants it sent again asks once more.
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
"""The durable consumer of `RESEARCH` that hands out what others are told of."""
NOTICE_SUBJECTS: Final = (f"{RUN}.*.hold.*", f"{RUN}.*.extension.*.*", f"{RUN}.*.completed")

EventType = Literal["hold.opened", "deadline.near", "run.ended"]
EVENT_TYPES: Final[tuple[EventType, ...]] = get_args(EventType)
DeliveryResult = Literal["delivered", "failed", "gave_up", "moot", "disabled"]
"""`failed` is tried again; `moot` was not sent, for nobody waits; `disabled`: the endpoint has said that it is gone."""

_EVENTS: Final[dict[str, EventType]] = {"hold": "hold.opened", "near": "deadline.near", "ended": "run.ended"}
_EVENT: Final = re.compile(r"hold-{0}|near-{0}(?:-{0})?|ended".format("[1-9][0-9]{0,8}"))
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,8}")
_Moment = Annotated[datetime, Meta(tz=True)]


class Delivery(Struct, frozen=True):
    """Which event is told to which endpoint.

    `event` is `hold-<round>`, `near-<round>`, `ended`, or `near-<round>-<n>` of the deadline of its `n`-th extension.
    """

    endpoint: str
    run: str
    event: str

    @property
    def id(self) -> str:
        """Its name, for people and for the API."""
        return f"{self.endpoint}.{self.run}.{self.event}"

    @property
    def event_type(self) -> EventType:
        """What happened."""
        return _EVENTS[self.event.partition("-")[0]]

    @property
    def round(self) -> int:
        """The round that it happened in; 0 for the end."""
        return int(self._numbers[0]) if self._numbers else 0

    @property
    def extension(self) -> int:
        """Which extension of the hold made the deadline what it is; 0 for none."""
        return int(self._numbers[1]) if len(self._numbers) > 1 else 0

    @property
    def _numbers(self) -> list[str]:
        return self.event.split("-")[1:]

    @property
    def event_id(self) -> str:
        """The event itself, whoever is told: the `webhook-id` of every try, so that receivers can drop repeats."""
        return f"{self.run}-{self.event}"

    @property
    def subjects(self) -> str:
        """The subjects of all its boxes."""
        return f"delivery.{self.id}.>"

    def asked(self, ask: int) -> str:
        """The box of its `ask`-th asking."""
        return f"delivery.{self.id}.asked.{ask}"

    def tried(self, ask: int, n: int) -> str:
        """The box of the `n`-th attempt after that asking."""
        return f"delivery.{self.id}.tried.{ask}.{n}"


class DeliverySlot(Struct, frozen=True):
    """One box: an asking where `n` is 0, else an attempt."""

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
    """Base of what is recorded of deliveries: sets how it is tagged."""


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
    """The delivery of this id; `None` where it is none."""
    endpoint, run, event = parts if len(parts := text.split(".")) == 3 else ("", "", "")
    return Delivery(endpoint, run, event) if is_token(endpoint) and is_token(run) and _EVENT.fullmatch(event) else None


def parse_delivery_slot(subject: str) -> DeliverySlot | None:
    """The box that a subject names; `None` where it names none."""
    match subject.split("."):
        case ["delivery", endpoint, run, event, ("asked" | "tried") as what, *numbers]:
            delivery = parse_delivery(f"{endpoint}.{run}.{event}")
            fits = len(numbers) == (1 if what == "asked" else 2) and all(map(_NUMBER.fullmatch, numbers))
            return DeliverySlot(delivery, *map(int, numbers)) if delivery and fits else None
        case _:
            return None


def hold_event(round_: int) -> str:
    """The event that a hold opened in this round."""
    return f"hold-{round_}"


def near_event(round_: int, extension: int = 0) -> str:
    """The event that the deadline of this round's hold is near, as it was extended for the `extension`-th time."""
    return f"near-{round_}-{extension}" if extension else f"near-{round_}"


ENDED: Final = "ended"
"""The event that a run ended."""


def asked_subjects(endpoint: str) -> str:
    """The subjects of everything that an endpoint is asked to be told."""
    return f"delivery.{endpoint}.*.*.asked.*"


def endpoint_consumer(endpoint: str) -> str:
    """The durable consumer that hands out what an endpoint is to be told."""
    return f"tell-{endpoint}"


def tried_subjects(endpoint: str) -> str:
    """The subjects of everything that was tried with an endpoint."""
    return f"delivery.{endpoint}.*.*.tried.*.*"


def first_asked_subjects(endpoint: str = "*", run: str = "*") -> str:
    """The subjects under which deliveries begin."""
    return f"delivery.{endpoint}.{run}.*.asked.1"
