"""What is written can be read; what cannot be read says so, and nothing else happens."""

from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given, settings

from shared.contracts import envelope
from shared.contracts.envelope import MAX_BYTES, MAX_TEXT_BYTES, Event, Inbound
from shared.contracts.evidence import Failure
from shared.contracts.facts import Fact, PlanFailed, PlanMade, RequestRefused
from shared.contracts.subjects import Slot
from shared.errors import ContractError, InvalidMessage, TooLarge, UnknownType, Unreadable

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
PLAN = Slot("r1", "plan", 1)
MADE = Event(PlanMade(queries=("a", "b"), planner="offline"), "dossier/plan", AT)

moments = st.datetimes(timezones=st.just(UTC))
PLAIN = {
    str: st.text(max_size=20),
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    datetime: moments,
    NoneType: st.none(),
}


def values(type_: Any) -> st.SearchStrategy[Any]:
    """Values of a type of the contract."""
    match get_origin(type_):
        case None if type_ in PLAIN:
            return PLAIN[type_]
        case None:
            return st.builds(type_, **{field.name: values(field.type) for field in msgspec.structs.fields(type_)})
        case origin if origin is tuple:
            return st.lists(values(get_args(type_)[0]), max_size=2).map(tuple)
        case origin if origin is dict:
            return st.dictionaries(*map(values, get_args(type_)), max_size=2)
        case origin if origin is Annotated:
            return values(get_args(type_)[0])
        case origin if origin is Literal:
            return st.sampled_from(get_args(type_))
        case _:
            return st.one_of(*map(values, get_args(type_)))


@settings(deadline=None)
@given(fact=values(Fact), source=PLAIN[str], time=moments, trace=st.none() | st.just(TRACE))
def test_every_fact_comes_back_as_it_was_written(fact: Fact, source: str, time: datetime, trace: str | None):
    event = Event(fact, source, time, trace)
    assert envelope.decode(envelope.encode(PLAN, event)) == event


def test_a_message_is_a_cloudevent_whose_id_is_its_slot():
    stored = msgspec.json.decode(envelope.encode(PLAN, msgspec.structs.replace(MADE, traceparent=TRACE)))
    assert stored == {
        "specversion": "1.0",
        "id": "research.run.r1.plan.1",
        "source": "dossier/plan",
        "type": "plan.made.v1",
        "subject": "r1",
        "time": "2026-01-02T03:04:05.678901Z",
        "datacontenttype": "application/json",
        "traceparent": TRACE,
        "data": {
            "type": "plan.made.v1",
            "queries": ["a", "b"],
            "planner": "offline",
            "degraded": None,
            "usage": {
                "calls": 0,
                "input_tokens": 0,
                "output_tokens": 0,
                "cost_usd": None,
                "unpriced": 0,
                "estimated": 0,
            },
            "calls": [],
            "copied_from": "",
            "duration_s": None,
        },
    }


def test_a_refusal_is_a_cloudevent_of_no_run():
    refusal = RequestRefused(seq=7, subject="research.requested", run_id=None, field="q", error=Failure("c", "m"))
    stored = msgspec.json.decode(envelope.encode_message("research.invalid.7", refusal, source="s", time=AT))
    assert (stored["id"], stored["type"], "subject" in stored) == ("research.invalid.7", "request.refused.v1", False)
    assert stored["data"]["error"] == {"code": "c", "message": "m"}


def test_a_message_of_just_the_limit_is_written_and_one_byte_more_is_not():
    def of(size: int) -> bytes:
        return envelope.encode(PLAN, Event(PlanFailed(error=Failure("c", "x" * size)), "s", AT))

    room = MAX_BYTES - len(of(0))
    assert len(of(room)) == MAX_BYTES
    with pytest.raises(TooLarge, match=r"research\.run\.r1\.plan\.1 would be 262,145 bytes"):
        of(room + 1)


# Too large for a message

LARGE = Event(PlanFailed(error=Failure("c", "ä" * MAX_BYTES)), "s", AT, TRACE)


def test_what_is_too_large_for_a_message_is_a_cloudevent_that_names_its_data():
    reference = envelope.encode_reference(PLAN, LARGE)
    data = reference.text.encode()
    assert msgspec.json.decode(reference.message) == {
        "specversion": "1.0",
        "id": "research.run.r1.plan.1",
        "source": "s",
        "type": "plan.failed.v1",
        "subject": "r1",
        "time": "2026-01-02T03:04:05.678901Z",
        "datacontenttype": "application/json",
        "traceparent": TRACE,
        "dataref": f"evidence:{sha256(data).hexdigest()}",
    }
    assert envelope.referenced_sha256(reference.message) == sha256(data).hexdigest()
    assert envelope.decode(reference.message, data) == LARGE


def test_a_reference_without_its_text_is_unreadable_and_names_it():
    reference = envelope.encode_reference(PLAN, LARGE)
    with pytest.raises(Unreadable, match=sha256(reference.text.encode()).hexdigest()):
        envelope.decode(reference.message)


def test_a_text_that_is_no_fact_is_unreadable():
    with pytest.raises(Unreadable):
        envelope.decode(envelope.encode_reference(PLAN, LARGE).message, b"{}")


@pytest.mark.parametrize(
    "message",
    [
        envelope.encode(PLAN, MADE),
        envelope.encode(PLAN, Event(PlanFailed(error=Failure("c", '"dataref":"evidence:')), "s", AT)),
        b'{"dataref":"evidence:',
        b'{"id": "1", "source": "s", "type": "t", "dataref":"evidence:elsewhere"}',
        b'{"id": "1", "source": "s", "type": "t", "dataref":"evidence:' + b"a" * 64 + b'", "data": {}}',
    ],
    ids=["data", "data that speaks of it", "no JSON", "elsewhere", "both"],
)
def test_what_has_its_data_or_none_of_ours_refers_to_nothing(message: bytes):
    assert envelope.referenced_sha256(message) is None


def test_a_fact_has_its_bound_and_says_so():
    with pytest.raises(TooLarge, match=r"research\.run\.r1\.plan\.1 would be .* a fact may have 16,777,216"):
        envelope.encode_reference(PLAN, Event(PlanFailed(error=Failure("c", "x" * MAX_TEXT_BYTES)), "s", AT))


# Unreadable


@settings(deadline=None)
@given(data=st.binary(max_size=200))
def test_arbitrary_bytes_are_unreadable_and_nothing_worse(data: bytes):
    with pytest.raises(ContractError):
        envelope.decode(data)


@settings(deadline=None)
@given(place=st.integers(0, 400), byte=st.integers(0, 255))
def test_a_message_with_one_wrong_byte_is_read_or_unreadable_and_nothing_worse(place: int, byte: int):
    data = bytearray(envelope.encode(PLAN, MADE))
    data[place % len(data)] = byte
    with suppress(ContractError):
        envelope.decode(bytes(data))


def stored(**changes: object) -> bytes:
    """`MADE` as it is stored, with other attributes; `None` leaves one out."""
    whole = msgspec.json.decode(envelope.encode(PLAN, MADE)) | changes
    return msgspec.json.encode({name: value for name, value in whole.items() if value is not None})


def with_data(data: bytes) -> bytes:
    return stored(data="HERE").replace(b'"HERE"', data)


UNREADABLE = {
    "nothing": b"",
    "no object": b"[]",
    "no id": stored(id=None),
    "no source": stored(source=None),
    "no type": stored(type=None),
    "no data": stored(data=None),
    "no time": stored(time=None),
    "a time without an offset": stored(time="2026-01-02T03:04:05"),
    "data that is no object": stored(data=[]),
    "data of another type": stored(type="plan.failed.v1"),
    "data that lacks a field": stored(data={"type": "plan.made.v1", "planner": "p"}),
    "bytes that are not UTF-8": stored(source="HERE").replace(b"HERE", b"\xff"),
    "data that is not UTF-8": with_data(b'{"type": "plan.made.v1", "queries": ["\xff"], "planner": ""}'),
    "data that is nested without end": with_data(b"[" * 50_000 + b"]" * 50_000),
    "an attribute that is nested without end": stored(more="HERE").replace(b'"HERE"', b"[" * 50_000 + b"]" * 50_000),
}


@pytest.mark.parametrize("data", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_is_no_fact_is_unreadable(data: bytes):
    with pytest.raises(Unreadable):
        envelope.decode(data)


def test_a_deadline_without_an_offset_is_unreadable():
    hold = {"type": "hold.opened.v1", "digest": "d", "deadline": "2026-01-02T03:04:05"}
    with pytest.raises(Unreadable):
        envelope.decode(stored(type="hold.opened.v1", data=hold))


@pytest.mark.parametrize("type_", ["plan.made.v2", "plan.made", "request.refused.v1", ""])
def test_a_type_or_version_that_is_not_known_says_so(type_: str):
    with pytest.raises(UnknownType):
        envelope.decode(stored(type=type_))


def test_what_a_newer_release_adds_is_passed_over():
    data = stored(dataschema="https://example.org", data={"type": "plan.made.v1", "queries": [], "planner": "", "x": 1})
    assert envelope.decode(data).fact == PlanMade(queries=(), planner="")


# Contract messages

BARE = b'{"q": "Why?"}'
EVENT = b'{"specversion": "1.0", "id": "1", "source": "s", "type": "t", "data": {"q": "Why?"}}'
STRUCTURED = "application/cloudevents+json"


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({}, BARE),
        ({"Content-Type": "application/json"}, BARE),
        ({"ce-specversion": "1.0", "ce-type": "t", "Content-Type": "application/json"}, BARE),
        ({"Content-Type": STRUCTURED}, EVENT),
        ({"content-type": STRUCTURED}, EVENT),
        ({"CONTENT-TYPE": "Application/CloudEvents+JSON; charset=utf-8"}, EVENT),
    ],
    ids=["bare", "bare JSON", "binary", "structured", "structured, lower case", "structured, upper case"],
)
def test_the_data_of_a_message_is_found_however_it_is_wrapped(headers: dict[str, str], message: bytes):
    assert msgspec.json.decode(envelope.unwrap(headers, message).data) == {"q": "Why?"}


@pytest.mark.parametrize("name", ["traceparent", "Traceparent", "ce-traceparent", "CE-TraceParent"])
def test_the_trace_of_a_message_is_found_whatever_the_case_of_its_header(name: str):
    assert envelope.unwrap({name: TRACE}, BARE) == Inbound(BARE, TRACE)


def test_the_trace_of_a_structured_event_is_its_own_else_that_of_the_headers():
    headers = {"Content-Type": STRUCTURED, "traceparent": "of the headers"}
    own = EVENT.replace(b'"id"', b'"traceparent": "its own", "id"')
    assert envelope.unwrap(headers, own).traceparent == "its own"
    assert envelope.unwrap(headers, EVENT).traceparent == "of the headers"


NO_EVENTS = {
    "no JSON": b"{",
    "no id": EVENT.replace(b'"id"', b'"ID"'),
    "no source": EVENT.replace(b'"source"', b'"from"'),
    "no type": EVENT.replace(b'"type"', b'"kind"'),
    "no data": EVENT.replace(b'"data"', b'"body"'),
    "not UTF-8": EVENT.replace(b'"s"', b'"\xff"'),
    "nested without end": EVENT.replace(b'"Why?"', b"[" * 50_000 + b"]" * 50_000),
}


@pytest.mark.parametrize("message", NO_EVENTS.values(), ids=NO_EVENTS.keys())
def test_what_says_to_be_a_cloudevent_and_is_none_is_invalid(message: bytes):
    with pytest.raises(InvalidMessage) as caught:
        envelope.unwrap({"Content-Type": STRUCTURED}, message)
    assert caught.value.code == "bad_cloudevent"


@settings(deadline=None)
@given(message=st.binary(max_size=100), structured=st.booleans())
def test_arbitrary_bytes_are_unwrapped_or_invalid_and_nothing_worse(message: bytes, structured: bool):
    try:
        envelope.unwrap({"Content-Type": STRUCTURED} if structured else {}, message)
    except InvalidMessage:
        assert structured
