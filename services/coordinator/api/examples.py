"""Examples for the OpenAPI description, computed from the example run of `shared.contracts.samples`."""

from functools import reduce
from typing import Any, Final

import msgspec

from services.coordinator.api.deliveries import delivery_view
from services.coordinator.http.feed import event_view, server_sent_event
from services.coordinator.http.presenters import run_summary, run_view
from shared.api.schemas import Accepted, EventPage, RunPage
from shared.api.views import DeliveryPage
from shared.contracts import envelope, samples
from shared.contracts.facts import HoldOpened, SynthesisWritten
from shared.contracts.messages import Message
from shared.domain.decoding import decode_fact
from shared.domain.run import Run, evolve
from shared.runtime.deliveries import DeliveryHistory

Json = dict[str, Any]

_HELD: Final = 1 + next(n for n, (_, fact) in enumerate(samples.FACTS) if isinstance(fact, HoldOpened))


def report() -> Json:
    """The example run's report, as JSON."""
    written = next(fact for _, fact in samples.FACTS if isinstance(fact, SynthesisWritten))
    ended = _run().completed
    assert ended
    body = {"run_id": samples.RUN, "digest": written.digest, "report": written.report, "markdown": ended.fact.report}
    return msgspec.to_builtins(body)


def messages() -> list[Message]:
    """The example run's facts, as they are stored."""
    stored = [
        (slot.subject, envelope.encode(slot, samples.event(fact, index)), samples.event(fact, index).time)
        for index, (slot, fact) in enumerate(samples.FACTS)
    ]
    return [Message(subject, samples.FIRST_SEQ + n, time, data) for n, (subject, data, time) in enumerate(stored)]


def _run(until: int = len(samples.FACTS)) -> Run:
    """The example run after its first `until` facts; by default after all."""
    facts = [
        decode_fact(slot, message.data, seq=message.seq, stored_at=message.time)
        for (slot, _), message in zip(samples.FACTS[:until], messages(), strict=False)
    ]
    return reduce(evolve, facts, Run(samples.RUN))


def event_stream() -> str:
    """The example run's first server-sent event."""
    return server_sent_event(event_view(messages()[0])).decode()


def _examples() -> Json:
    """Examples by name of schema, for schemas whose example cannot be made from their parts."""
    held = _run(until=_HELD)
    story = DeliveryHistory(samples.DELIVERY, {1: samples.ASKED}, {1: {1: samples.TRIED}}, samples.AT)
    delivery = delivery_view(story)
    shown = {
        "Accepted": Accepted(run_id=samples.RUN, location=f"/v1/runs/{samples.RUN}", sequence=41),
        "RunView": run_view(held),
        "RunPage": RunPage(runs=[run_summary(held)], next=None),
        "EventPage": EventPage(run_id=samples.RUN, events=[event_view(message) for message in messages()[:3]]),
        "DeliveryView": delivery,
        "DeliveryPage": DeliveryPage(deliveries=[delivery], next=None),
    }
    return {name: model.model_dump(mode="json") for name, model in shown.items()} | {
        "NewRun": {"q": samples.QUESTION, "approval_timeout": "2h", "requested_by": "ann"},
        "NewApproval": {"decision": "approve", "comment": "Good enough.", "by": "bob", "digest": samples.DIGEST},
        "NewExtension": {"deadline": "2026-01-05T09:00:00Z", "comment": "Ann is back on Monday.", "by": "bob"},
        "NewCancel": {"comment": "No longer needed.", "by": "bob"},
        "NewResend": {"by": "bob"},
    }


def of(schema: Json, components: Json) -> object:
    """An example that fits the schema: the one written for it, else one made from its defaults, enums and parts."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return known if (known := _examples().get(name)) is not None else of(components[name], components)
    if "allOf" in schema:
        return of(schema["allOf"][0], components)
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return of(options[0], components)
    for given in ("const", "default"):
        if given in schema:
            return schema[given]
    if given := schema.get("examples") or schema.get("enum"):
        return given[0]
    return _made(schema, components)


def _made(schema: Json, components: Json) -> object:
    """An example of a schema without defaults: required properties only; None for a type that is not known."""
    match schema.get("type"):
        case "object":
            wanted = schema.get("required", [])
            return {name: of(part, components) for name, part in schema.get("properties", {}).items() if name in wanted}
        case "array":
            return [of(schema["items"], components)] if schema.get("minItems") else []
        case "integer" | "number":
            return schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1)
        case "boolean":
            return True
        case "string":
            return {"date-time": "2026-01-02T03:04:05Z"}.get(schema.get("format", ""), "a" * schema.get("minLength", 1))
        case _:
            return None
