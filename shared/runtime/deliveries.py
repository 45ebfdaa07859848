"""The story of a delivery, folded from its boxes. Whatever is to be known of it is in there."""

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
"""So many stories are read at once: of 10 askings with 10 attempts each they have fewer than the 1,024 boxes that the
server gives in one answer."""

DeliveryState = Literal["waiting", "retrying", "delivered", "gave_up", "moot", "disabled"]


class DeliveryHistory(Struct, frozen=True):
    """What is recorded of one delivery, by asking and, within it, by attempt; and when the newest box was filled."""

    delivery: Delivery
    asked: dict[int, DeliveryAsked] = {}
    tried: dict[int, dict[int, DeliveryTried]] = {}
    at: datetime | None = None

    @property
    def ask(self) -> int:
        """The number of the newest asking; those before it are over. 0 where there is none."""
        return max(self.asked, default=0)

    @property
    def tries(self) -> dict[int, DeliveryTried]:
        """The attempts after the newest asking."""
        return self.tried.get(self.ask, {})

    @property
    def last(self) -> DeliveryTried | None:
        """The newest attempt after the newest asking."""
        return self.tries[max(self.tries)] if self.tries else None

    @property
    def state(self) -> DeliveryState:
        """How it stands."""
        if self.last is None:
            return "waiting"
        return "retrying" if self.last.result == "failed" else self.last.result

    @property
    def due(self) -> datetime | None:
        """When it is tried next; `None` where it is over."""
        if self.last:
            return self.last.due if self.last.result == "failed" else None
        return self.asked[self.ask].due if self.ask else None


def fold_delivery(delivery: Delivery, messages: Iterable[Message]) -> DeliveryHistory:
    """The story that these boxes tell. What cannot be read is left out: its attempt is then made again."""
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
    try:
        return envelope.decode_record(message.data)
    except ContractError:
        return None


async def load_histories(
    log: Log, deliveries: Iterable[Delivery], *, known: Iterable[Message] = ()
) -> list[DeliveryHistory]:
    """The stories of these deliveries, at most `MAX_HISTORIES`, in their order. What is `known` is part of them."""
    wanted = list(deliveries)
    found = await log.last([delivery.subjects for delivery in wanted]) if wanted else {}
    boxes: dict[str, list[Message]] = {}
    for message in (*known, *found.values()):
        if box := parse_delivery_slot(message.subject):
            boxes.setdefault(box.delivery.id, []).append(message)
    return [fold_delivery(delivery, boxes.get(delivery.id, [])) for delivery in wanted]


def encode_delivery(subject: str, record: Record, *, source: str, time: datetime) -> Fill:
    """The write of a box."""
    box = parse_delivery_slot(subject)
    assert box, f"{subject} is no box of a delivery"
    data = envelope.encode_record(subject, record, run=box.delivery.run, source=source, time=time)
    return Fill(subject, data)
