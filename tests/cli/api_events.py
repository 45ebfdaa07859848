"""Facts of a run as events of the API."""

from collections.abc import Iterator

from services.coordinator.http.feed import event_view
from shared.api.schemas import EventView
from shared.contracts import envelope
from shared.contracts.envelope import Event
from shared.contracts.messages import Message
from tests.coordinator.story import START, Told, accepted, found, hold, not_found, planned

FETCHED = (accepted(), planned(), found(0), not_found(1))
HELD = (*FETCHED, hold())


def events(*facts: Told) -> Iterator[EventView]:
    """These facts, in order, as the log numbers them."""
    for seq, (slot, fact) in enumerate(facts, 1):
        data = envelope.encode(slot, Event(fact, "test", START))
        yield event_view(Message(slot.subject, seq, START, data))
