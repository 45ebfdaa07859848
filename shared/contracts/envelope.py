"""CloudEvents 1.0, in and out.

Out: structured JSON, one event a message. In: structured and binary mode after the NATS protocol
binding, and bare JSON. Of a stored fact, `id` is the slot's subject and `subject` the run.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final, get_args

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from shared.contracts.deliveries import Record
from shared.contracts.facts import Fact, RequestRefused
from shared.contracts.subjects import Slot
from shared.errors import InvalidMessage, TooLarge, UnknownType, Unreadable

MAX_BYTES: Final = 256 * 1024
"""What one message may weigh; everything larger goes to `EVIDENCE`."""

CONTENT_TYPE: Final = "application/cloudevents+json"
HEADERS: Final[Mapping[str, str]] = {"Content-Type": CONTENT_TYPE}


class Event(Struct, frozen=True):
    """A stored fact with what its envelope says of it."""

    fact: Fact
    source: str
    time: datetime
    traceparent: str | None = None


class _Envelope(Struct, frozen=True, kw_only=True):
    specversion: str = "1.0"
    id: str
    source: str
    type: str
    subject: str | UnsetType = UNSET
    time: Annotated[datetime, Meta(tz=True)] | UnsetType = UNSET
    datacontenttype: str = "application/json"
    traceparent: str | UnsetType = UNSET
    data: Raw


def _tag(fact: type[Struct]) -> str:
    tag = fact.__struct_config__.tag
    assert isinstance(tag, str)
    return tag


_encode: Final = msgspec.json.Encoder().encode
_decode_envelope: Final = msgspec.json.Decoder(_Envelope).decode
_DECODERS: Final = {_tag(fact): msgspec.json.Decoder[Fact](fact) for fact in get_args(Fact)}
_decode_record: Final = msgspec.json.Decoder[Record](Record).decode


def encode(slot: Slot, event: Event) -> bytes:
    """The message that fills `slot` with `event`. Raises `TooLarge` over the limit."""
    return _sealed(slot.subject, slot.run, event.fact, event)


def encode_refusal(subject: str, refusal: RequestRefused, *, source: str, time: datetime) -> bytes:
    """The message on `research.invalid.<seq>`."""
    envelope = _Envelope(id=subject, source=source, type=_tag(RequestRefused), time=time, data=Raw(_encode(refusal)))
    return _encode(envelope)


def encode_record(subject: str, record: Record, *, run: str, source: str, time: datetime) -> bytes:
    """The message that fills a box of `DELIVERIES`."""
    data = Raw(_encode(record))
    return _encode(_Envelope(id=subject, source=source, type=_tag(type(record)), subject=run, time=time, data=data))


def decode_record(message: bytes) -> Record:
    """What a box of `DELIVERIES` holds. Raises `Unreadable`."""
    try:
        return _decode_record(_decode_envelope(message).data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(str(error)) from error


def _sealed(id_: str, run: str, fact: Fact, event: Event) -> bytes:
    message = _encode(
        _Envelope(
            id=id_,
            source=event.source,
            type=_tag(type(fact)),
            subject=run,
            time=event.time,
            traceparent=event.traceparent or UNSET,
            data=Raw(_encode(fact)),
        )
    )
    if len(message) > MAX_BYTES:
        raise TooLarge(f"{id_} would be {len(message):,} bytes; a message may have {MAX_BYTES:,}.")
    return message


def decode(message: bytes) -> Event:
    """The fact that `message` stores. Raises `Unreadable` or `UnknownType`."""
    try:
        envelope = _decode_envelope(message)
        decoder = _DECODERS.get(envelope.type)
        if decoder is None:
            raise UnknownType(f"{envelope.type} is not a type that this release knows.")
        fact = decoder.decode(envelope.data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(str(error)) from error
    if isinstance(envelope.time, UnsetType):
        raise Unreadable("The envelope has no time.")
    return Event(fact, envelope.source, envelope.time, envelope.traceparent or None)


class Inbound(Struct, frozen=True):
    """A contract message unwrapped: its data, and the trace it belongs to."""

    data: bytes
    traceparent: str | None = None


def unwrap(headers: Mapping[str, str], message: bytes) -> Inbound:
    """The data of a contract message: structured or binary CloudEvents by its headers, else bare JSON.

    Raises `InvalidMessage` for a structured event without the required attributes.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    trace = lower.get("ce-traceparent") or lower.get("traceparent")
    if not lower.get("content-type", "").lower().startswith("application/cloudevents"):
        return Inbound(message, trace)
    try:
        envelope = _decode_envelope(message)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidMessage("bad_cloudevent", f"Not a CloudEvents 1.0 JSON event: {error}.") from error
    return Inbound(bytes(envelope.data), envelope.traceparent or trace)
