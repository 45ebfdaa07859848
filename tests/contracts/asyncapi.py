"""The contract on NATS as AsyncAPI 3, generated from the types for `docs/reference/asyncapi.json`."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast, get_args

import msgspec
from msgspec import Struct

from shared.contracts import envelope, samples
from shared.contracts.deliveries import Delivery, DeliveryAsked, DeliveryTried, Record
from shared.contracts.facts import Fact, HoldExtended, RequestRefused
from shared.contracts.requests import Request, Ruling
from shared.contracts.schemas import schemas
from shared.contracts.subjects import APPROVED, CANCELLED, COMPLETED, INVALID, REJECTED, REQUESTED, RUN, SlotName

Json = dict[str, Any]

_INBOUND: Final[Mapping[str, tuple[str, type[Struct], Struct, str]]] = {
    "requested": (REQUESTED, Request, samples.REQUEST, "Ask a question: a run begins."),
    "approved": (APPROVED, Ruling, samples.RULING, "Approve the evidence of a run: its report is written."),
    "rejected": (REJECTED, Ruling, samples.RULING, "Reject the evidence of a run: it ends without a report."),
    "cancelled": (CANCELLED, Ruling, samples.RULING, "End a run now, wherever it is."),
}
_PATHS: Final[Mapping[str, str]] = {
    "accepted": "accepted",
    "completed": "completed",
    "task": "task.{kind}.{round}.{index}.{attempt}",
    "attempt": "attempt.{kind}.{round}.{index}.{attempt}",
    "fetch": "fetch.{round}.{index}",
    "extension": "extension.{round}.{index}",
    "vote": "vote.{round}.{voter}",
}
"""The path of each box within its run; of those that are not named, the box and its round."""
_PARAMETERS: Final[Mapping[str, Json]] = {
    "run": {"description": "The run's id: 1 to 64 of A–Z, a–z, 0–9, _ and -."},
    "kind": {"description": "The kind of work.", "enum": ["plan", "fetch", "synthesize"]},
    "round": {"description": "From 1; each revision by a reviewer starts another."},
    "index": {"description": "The sub-query in its round, from 0; 0 for planning and writing. Of extensions, from 1."},
    "attempt": {"description": "From 1."},
    "voter": {"description": "32 hex digits of the hash of who approves."},
    "sequence": {"description": "The stream sequence of the message that is refused."},
    "endpoint": {"description": "The endpoint's name in the file of webhooks."},
    "event": {"description": "`hold-<round>`, `near-<round>`, `near-<round>-<extension>` or `ended`."},
    "ask": {"description": "1 for the first time; one more each time that a person sends it again."},
    "n": {"description": "The attempt, from 1."},
}
_ENVELOPE: Final = "CloudEvent"


def document() -> Json:
    """Return the AsyncAPI document as JSON-ready values."""
    messages: Json = {}
    channels: Json = {}
    operations: Json = {}
    for name, (address, type_, sample, says) in _INBOUND.items():
        messages[name] = _bare(name, type_, sample, says)
        messages[f"{name}Event"] = _inbound_event(address, type_, sample, says)
        channels[name] = _channel(address, says, [name, f"{name}Event"])
        operations[name] = _operation("receive", name, says)
    for name, address, says, types in _outbound():
        for type_ in types:
            messages[_tag(type_)] = _event(type_)
        channels[name] = _channel(address, says, [_tag(type_) for type_ in types])
        operations[name] = _operation("send", name, says)
    return {
        "asyncapi": "3.1.0",
        "info": {
            "title": "Dossier",
            "version": "1",
            "description": "Publish `research.requested`; hear exactly one `research.completed`. Everything in between "
            "is a fact in a slot of its own, written once: other messages on these subjects are refused by the server.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {"local": {"host": "127.0.0.1:4222", "protocol": "nats", "description": "As `dossier up` runs it."}},
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": _schemas()},
    }


def _outbound() -> Iterable[tuple[str, str, str, list[type[Struct]]]]:
    """Yield each channel that Dossier writes: name, address, description, types of its messages."""
    facts: list[type[Struct]] = list(get_args(Fact))
    ended = [fact for fact in facts if _box(fact) == "completed"]
    yield "completed", COMPLETED, "The end of a run, exactly once. Stream COMPLETIONS keeps them all.", ended
    yield "invalid", f"{INVALID}.{{sequence}}", "The refusal of a message, with the reason.", [RequestRefused]
    placed: set[type[Struct]] = set()
    for box in get_args(SlotName):
        held = [fact for fact in facts if _box(fact) == box]
        placed.update(held)
        if held:
            path = _PATHS.get(box, f"{box}.{{round}}")
            yield f"slot_{box}", f"{RUN}.{{run}}.{path}", f"A slot of a run: {path}. For reading.", held
    if left := [fact for fact in facts if fact not in placed]:
        yield "slot_other", f"{RUN}.{{run}}.*", "Other slots of a run. For reading.", left
    delivery = Delivery("{endpoint}", "{run}", "{event}")
    asked, tried = (f"delivery.{delivery.id}.{path}" for path in ("asked.{ask}", "tried.{ask}.{n}"))
    yield "delivery_asked", asked, "An event to deliver to an endpoint. For reading.", [DeliveryAsked]
    yield "delivery_tried", tried, "An attempt to deliver an event. For reading.", [DeliveryTried]


def _box(fact: type[Struct]) -> str:
    """Name of the slot that a type of fact fills: `run.accepted.v1` is in `accepted`, `plan.made.v1` in `plan`."""
    if fact is HoldExtended:
        return "extension"
    first, second, *_ = _tag(fact).split(".")
    return second if first == "run" else first


def _channel(address: str, says: str, messages: list[str]) -> Json:
    """A channel with its messages by reference, and the parameters of its address."""
    names = [part[1:-1] for part in address.split(".") if part.startswith("{")]
    channel: Json = {
        "address": address,
        "description": says,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
    }
    return channel | ({"parameters": {name: _PARAMETERS[name] for name in names}} if names else {})


def _operation(action: str, channel: str, says: str) -> Json:
    """An operation on a channel. `action` is `send` or `receive`, as seen from Dossier."""
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": says,
        "bindings": {"nats": {"bindingVersion": "0.1.0"}},
    }


def _bare(name: str, type_: type[Struct], sample: Struct, says: str) -> Json:
    """A contract message as bare JSON, or, with `ce-` headers, as a CloudEvent in binary mode."""
    return {
        "name": name,
        "title": f"{says} Bare JSON.",
        "contentType": "application/json",
        "headers": {
            "type": "object",
            "properties": {
                "Nats-Msg-Id": {"type": "string", "description": "The run's id where the data names none."},
                "traceparent": {"type": "string", "description": "W3C trace context; or `ce-traceparent`."},
            },
        },
        "payload": _ref(type_.__name__),
        "examples": [{"name": "example", "payload": msgspec.to_builtins(sample)}],
    }


def _inbound_event(address: str, type_: type[Struct], sample: Struct, says: str) -> Json:
    """A contract message as a structured CloudEvent, with `sample` as its example."""
    return {
        "name": f"{address} as a CloudEvent",
        "title": f"{says} A CloudEvent, structured.",
        "contentType": envelope.CONTENT_TYPE,
        "headers": _CLOUDEVENT_HEADERS,
        "payload": {"allOf": [_ref(_ENVELOPE), {"type": "object", "properties": {"data": _ref(type_.__name__)}}]},
        "examples": [
            {
                "name": "example",
                "payload": {
                    "specversion": "1.0",
                    "id": "1",
                    "source": "crm.example.com",
                    "type": address,
                    "data": msgspec.to_builtins(sample),
                },
            }
        ],
    }


def _event(type_: type[Struct]) -> Json:
    """A message that Dossier writes: a CloudEvent whose id is its subject, with an example if the example
    run has one.
    """
    tag = _tag(type_)
    data = {"type": "object", "properties": {"type": {"const": tag}, "data": _ref(type_.__name__)}}
    message: Json = {
        "name": tag,
        "title": (type_.__doc__ or tag).partition("\n")[0],
        "contentType": envelope.CONTENT_TYPE,
        "headers": _CLOUDEVENT_HEADERS,
        "payload": {"allOf": [_ref(_ENVELOPE), data]},
    }
    sample = _examples().get(tag)
    return message | ({"examples": [{"name": "example", "payload": sample}]} if sample else {})


_CLOUDEVENT_HEADERS: Final[Json] = {
    "type": "object",
    "properties": {"Content-Type": {"type": "string", "const": envelope.CONTENT_TYPE}},
    "required": ["Content-Type"],
}


def _examples() -> Json:
    """Stored messages of the example run by type; of several with one type, the last."""
    stored = [envelope.encode(slot, samples.event(fact, index)) for index, (slot, fact) in enumerate(samples.FACTS)]
    source, time, invalid = "dossier/example", samples.AT, f"{INVALID}.{samples.REFUSED.seq}"
    stored += [
        envelope.encode_message(subject, record, run=samples.RUN, source=source, time=time)
        for subject, record in samples.RECORDS
    ]
    stored.append(envelope.encode_message(invalid, samples.REFUSED, source=source, time=time))
    return {message["type"]: message for message in map(json.loads, stored)}


def _schemas() -> Json:
    """Schemas of all types, and that of the CloudEvent, by name."""
    types = [*get_args(Fact), *get_args(Record), RequestRefused, Request, Ruling]
    described = schemas(types, "#/components/schemas/{name}")
    return {name: _plain(schema) for name, schema in sorted(described.items())} | {_ENVELOPE: _CLOUDEVENT}


def _plain(schema: Any) -> Any:
    """The schema without OpenAPI's `discriminator`, which AsyncAPI writes differently; the tags are
    constants anyway.
    """
    match schema:
        case dict():
            fields = cast("Json", schema)
            return {name: _plain(value) for name, value in fields.items() if name != "discriminator"}
        case list():
            return [_plain(value) for value in cast("list[Any]", schema)]
        case _:
            return schema


_CLOUDEVENT: Final[Json] = {
    "title": _ENVELOPE,
    "description": "CloudEvents 1.0. Of a stored fact, `id` is its subject and `subject` the run.",
    "type": "object",
    "required": ["specversion", "id", "source", "type", "data"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "minLength": 1},
        "source": {"type": "string", "minLength": 1},
        "type": {"type": "string", "minLength": 1},
        "subject": {"type": "string"},
        "time": {"type": "string", "format": "date-time"},
        "datacontenttype": {"const": "application/json"},
        "traceparent": {"type": "string"},
        "data": {},
    },
}


def _ref(name: str) -> Json:
    """A reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def _tag(type_: type[Struct]) -> str:
    """The CloudEvents `type` of a fact's class."""
    tag = type_.__struct_config__.tag
    assert isinstance(tag, str)
    return tag
