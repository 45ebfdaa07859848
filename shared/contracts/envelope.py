"""CloudEvents 1.0, encoded and decoded.

Messages are written as structured JSON, one event a message. Contract messages are read in structured and binary mode
after the NATS protocol binding, and as bare JSON. Of a stored fact, `id` is the slot's subject and `subject` the run. A
fact too large for one message has the extension `dataref` instead of `data`: `evidence:` and the SHA-256 of the text
that is its data.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Annotated, Final, TypeVar, get_args

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from shared.contracts.access import AccessFact
from shared.contracts.deliveries import Record
from shared.contracts.facts import Fact
from shared.contracts.subjects import Slot
from shared.errors import InvalidMessage, TooLarge, UnknownType, Unreadable

MAX_BYTES: Final = 256 * 1024
"""Most bytes of one message; larger data goes to `EVIDENCE`."""
MAX_TEXT_BYTES: Final = 16 * 1024 * 1024
"""Most bytes of the data of one fact there. A reader of a run, such as a browser, holds all of its facts at once. This
is some eighty times the size of a page of findings; larger data means a fault of a tool or a model."""

CONTENT_TYPE: Final = "application/cloudevents+json"
HEADERS: Final[Mapping[str, str]] = {"Content-Type": CONTENT_TYPE}


class Event(Struct, frozen=True):
    """A fact with the attributes of its envelope."""

    fact: Fact
    source: str
    time: datetime
    traceparent: str | None = None


_Data = TypeVar("_Data")
_NO_DATA: Final = Raw()
_DATAREF: Final = re.compile(r"evidence:([0-9a-f]{64})")
_REFERS: Final = b'dataref":"evidence:'
"""Stands in every reference that is written here. A search that begins with a quote would take five times as long."""
_LONGEST_REFERENCE: Final = 4 * 1024


class _Envelope(Struct, frozen=True, kw_only=True):
    """A CloudEvent. `data` is empty if the event has `dataref` instead."""

    specversion: str = "1.0"
    id: str
    source: str
    type: str
    subject: str | UnsetType = UNSET
    time: Annotated[datetime, Meta(tz=True)] | UnsetType = UNSET
    datacontenttype: str = "application/json"
    traceparent: str | UnsetType = UNSET
    dataref: str | UnsetType = UNSET
    data: Raw = _NO_DATA


class _ReferenceEnvelope(Struct, frozen=True, kw_only=True):
    """A CloudEvent with `dataref` and without `data`, for encoding."""

    specversion: str = "1.0"
    id: str
    source: str
    type: str
    subject: str
    time: datetime
    datacontenttype: str = "application/json"
    traceparent: str | UnsetType = UNSET
    dataref: str


class Reference(Struct, frozen=True):
    """A fact too large for a message: the message for its slot, and the text in `EVIDENCE` that is its data."""

    message: bytes
    text: str


def _type_of(fact: type[Struct]) -> str:
    """The CloudEvents `type` of a fact's class."""
    tag = fact.__struct_config__.tag
    assert isinstance(tag, str)
    return tag


_encode: Final = msgspec.json.Encoder().encode
_decode_envelope: Final = msgspec.json.Decoder(_Envelope).decode
_decode_access: Final = msgspec.json.Decoder[AccessFact](AccessFact).decode
_DECODERS: Final = {_type_of(fact): msgspec.json.Decoder[Fact](fact) for fact in get_args(Fact)}
_decode_record: Final = msgspec.json.Decoder[Record](Record).decode


def encode(slot: Slot, event: Event) -> bytes:
    """Return the message that fills `slot` with `event`. Raises `TooLarge` above `MAX_BYTES`."""
    return _encode_checked(slot.subject, slot.run, event.fact, event)


def encode_reference(slot: Slot, event: Event) -> Reference:
    """Return message and text of a fact that is too large for one message.

    Raises `TooLarge` if the data has more than `MAX_TEXT_BYTES`, or the message without it more than 4 KiB.
    """
    data = _encode(event.fact)
    if len(data) > MAX_TEXT_BYTES:
        raise TooLarge(f"{slot.subject} would be {len(data):,} bytes; a fact may have {MAX_TEXT_BYTES:,}.")
    envelope = _ReferenceEnvelope(
        id=slot.subject,
        source=event.source,
        type=_type_of(type(event.fact)),
        subject=slot.run,
        time=event.time,
        traceparent=event.traceparent or UNSET,
        dataref=f"evidence:{sha256(data).hexdigest()}",
    )
    message = _encode(envelope)
    if len(message) > _LONGEST_REFERENCE:
        raise TooLarge(f"{slot.subject} would have {len(message):,} bytes without its data.")
    return Reference(message, data.decode())


def referenced_sha256(message: bytes) -> str | None:
    """Return the SHA-256 (hex) of the text that is this message's data, or `None` if it has its data itself or is
    unreadable.
    """
    if len(message) > _LONGEST_REFERENCE or _REFERS not in message:
        return None
    try:
        envelope = _decode_envelope(message)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    named = None if envelope.data or not envelope.dataref else _DATAREF.fullmatch(envelope.dataref)
    return named[1] if named else None


def encode_message(subject: str, data: Struct, *, source: str, time: datetime, run: str | None = None) -> bytes:
    """Return the message that stores `data` on `subject`, for all that is no fact of a run's slot.

    `data` is a refusal, a truncation, or a record of `DELIVERIES` or `ACCESS`; `run` is the run that it belongs to.
    """
    envelope = _Envelope(
        id=subject, source=source, type=_type_of(type(data)), subject=run or UNSET, time=time, data=Raw(_encode(data))
    )
    return _encode(envelope)


def decode_record(message: bytes) -> Record:
    """Return the record in a slot of `DELIVERIES`. Raises `Unreadable`."""
    return _decode_data(message, _decode_record)


def decode_access(message: bytes) -> AccessFact:
    """Return the fact in a slot of `ACCESS`. Raises `Unreadable`, also for a type that this release does not know."""
    return _decode_data(message, _decode_access)


def _decode_data(message: bytes, decode_data: Callable[[Raw], _Data]) -> _Data:
    """Return the decoded data of a message. Raises `Unreadable`."""
    try:
        return decode_data(_decode_envelope(message).data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(str(error)) from error


def _encode_checked(id_: str, run: str, fact: Fact, event: Event) -> bytes:
    """Return the message of a fact. Raises `TooLarge` above `MAX_BYTES`."""
    message = _encode(
        _Envelope(
            id=id_,
            source=event.source,
            type=_type_of(type(fact)),
            subject=run,
            time=event.time,
            traceparent=event.traceparent or UNSET,
            data=Raw(_encode(fact)),
        )
    )
    if len(message) > MAX_BYTES:
        raise TooLarge(f"{id_} would be {len(message):,} bytes; a message may have {MAX_BYTES:,}.")
    return message


def decode(message: bytes, text: bytes | None = None) -> Event:
    """Return the event that `message` stores. `text` is its data if it only refers to a text.

    Raises `UnknownType`, or `Unreadable`: malformed, without a time, or referring to a text that is not given.
    """
    try:
        envelope = _decode_envelope(message)
        decoder = _DECODERS.get(envelope.type)
        if decoder is None:
            raise UnknownType(f"{envelope.type} is not a type that this release knows.")
        fact = decoder.decode(envelope.data or _data_of(envelope, text))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(str(error)) from error
    if isinstance(envelope.time, UnsetType):
        raise Unreadable("The envelope has no time.")
    return Event(fact, envelope.source, envelope.time, envelope.traceparent or None)


def _data_of(envelope: _Envelope, text: bytes | None) -> bytes:
    """Return `text`, the data of an envelope without data. Raises `Unreadable` if it is `None`."""
    if text is not None:
        return text
    if not envelope.dataref:
        raise Unreadable("The envelope has neither data nor dataref.")
    raise Unreadable(f"its data is {envelope.dataref}, a text that EVIDENCE does not have, or has damaged.")


class Inbound(Struct, frozen=True):
    """The data of a contract message, and its trace context."""

    data: bytes
    traceparent: str | None = None


def unwrap(headers: Mapping[str, str], message: bytes) -> Inbound:
    """Return the data of a contract message: of a structured or binary CloudEvent by its headers, else the bare JSON.

    The data is not parsed. Raises `InvalidMessage` for a structured event that is malformed or has no data.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    trace = lower.get("ce-traceparent") or lower.get("traceparent")
    if not lower.get("content-type", "").lower().startswith("application/cloudevents"):
        return Inbound(message, trace)
    try:
        envelope = _decode_envelope(message)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidMessage("bad_cloudevent", f"Not a CloudEvents 1.0 JSON event: {error}.") from error
    if not envelope.data:
        raise InvalidMessage("bad_cloudevent", "The event has no data; what it says must be in the message itself.")
    return Inbound(bytes(envelope.data), envelope.traceparent or trace)
