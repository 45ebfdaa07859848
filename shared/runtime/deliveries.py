"""The history of a delivery, folded from the messages of its slots."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final, Literal

from msgspec import Struct

from shared.contracts import envelope
from shared.contracts.deliveries import Delivery, DeliveryAsked, DeliveryTried, Record, parse_delivery_slot
from shared.contracts.messages import Fill, Message
from shared.errors import ContractError
from shared.runtime.log import Log

MAX_ASKS: Final = 10
MAX_HISTORIES: Final = 9
"""Most histories read at once. With 10 asks of 10 attempts each they have fewer than 1,024 slots, the most messages in
one answer of the server."""

DeliveryState = Literal["waiting", "retrying", "delivered", "gave_up", "moot", "disabled"]


class DeliveryHistory(Struct, frozen=True):
    """The records of one delivery: asks by number, attempts by ask and number, and the time of the newest record."""

    delivery: Delivery
    asked: dict[int, DeliveryAsked] = {}
    tried: dict[int, dict[int, DeliveryTried]] = {}
    at: datetime | None = None

    @property
    def ask(self) -> int:
        """Number of the newest ask, 0 if there is none. Earlier asks are over."""
        return max(self.asked, default=0)

    @property
    def tries(self) -> dict[int, DeliveryTried]:
        """Attempts after the newest ask, by number."""
        return self.tried.get(self.ask, {})

    @property
    def last(self) -> DeliveryTried | None:
        """The newest attempt after the newest ask, or `None`."""
        return self.tries[max(self.tries)] if self.tries else None

    @property
    def state(self) -> DeliveryState:
        """`waiting` before the first attempt, `retrying` after a failed one, else the result of the last attempt."""
        if self.last is None:
            return "waiting"
        return "retrying" if self.last.result == "failed" else self.last.result

    @property
    def due(self) -> datetime | None:
        """Time of the next attempt, or `None` if the delivery is over or was not asked for."""
        if self.last:
            return self.last.due if self.last.result == "failed" else None
        return self.asked[self.ask].due if self.ask else None


def fold_delivery(delivery: Delivery, messages: Iterable[Message]) -> DeliveryHistory:
    """Return the history in these messages. Other deliveries' and unreadable records are left out; an unreadable
    attempt is therefore made again.
    """
    asked: dict[int, DeliveryAsked] = {}
    tried: dict[int, dict[int, DeliveryTried]] = {}
    at: datetime | None = None
    for message in messages:
        box = parse_delivery_slot(message.subject)
        if box is None or box.delivery != delivery:
            continue
        match _record(message):
            case DeliveryAsked() as record:
                asked[box.ask] = record
            case DeliveryTried() as record:
                tried.setdefault(box.ask, {})[box.n] = record
            case None:
                continue
        at = max(at, message.time) if at else message.time
    return DeliveryHistory(delivery, asked, tried, at)


def _record(message: Message) -> Record | None:
    """Return the record of a message, or `None` if it is unreadable."""
    try:
        return envelope.decode_record(message.data)
    except ContractError:
        return None


async def load_histories(
    log: Log, deliveries: Iterable[Delivery], *, known: Iterable[Message] = ()
) -> list[DeliveryHistory]:
    """Read the histories of at most `MAX_HISTORIES` deliveries, in their order; `known` messages are included."""
    wanted = list(deliveries)
    found = await log.last([delivery.subjects for delivery in wanted]) if wanted else {}
    boxes: dict[str, list[Message]] = {}
    for message in (*known, *found.values()):
        if box := parse_delivery_slot(message.subject):
            boxes.setdefault(box.delivery.id, []).append(message)
    return [fold_delivery(delivery, boxes.get(delivery.id, [])) for delivery in wanted]


def encode_delivery(subject: str, record: Record, *, source: str, time: datetime) -> Fill:
    """Return the write of a record. `subject` must be a slot of a delivery."""
    box = parse_delivery_slot(subject)
    assert box, f"{subject} is no box of a delivery"
    data = envelope.encode_message(subject, record, run=box.delivery.run, source=source, time=time)
    return Fill(subject, data)
