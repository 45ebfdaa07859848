"""A delivery's boxes: each has one subject, each subject names one box, and what was written is read for ever."""

from datetime import UTC, datetime
from pathlib import Path

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from shared.contracts import envelope
from shared.contracts.deliveries import (
    Delivery,
    DeliveryAsked,
    DeliverySlot,
    DeliveryTried,
    Record,
    WebhookData,
    parse_delivery,
    parse_delivery_slot,
)
from shared.contracts.evidence import Failure
from shared.errors import Unreadable

GOLDEN = Path(__file__).parent / "golden" / "deliveries"
FILES = sorted(GOLDEN.glob("*/*.json"))
AT = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
HELD = Delivery("ops", "golden", "hold-1")

V1: dict[str, tuple[str, Record]] = {
    "delivery.asked": (
        HELD.asked(1),
        DeliveryAsked(
            told=WebhookData(run_id="golden", q="How? 世界", requested_by="ann", round=1, deadline=AT, digest="d" * 64),
            happened_at=AT,
            due=AT,
            fact_seq=42,
        ),
    ),
    "delivery.asked.again": (
        Delivery("ops", "golden", "ended").asked(2),
        DeliveryAsked(
            told=WebhookData(run_id="golden", q="How?", outcome="cancelled", ok=False, reason="Not now.", by="bob"),
            happened_at=AT,
            due=AT,
            fact_seq=43,
            by="ann",
        ),
    ),
    "delivery.tried": (
        HELD.tried(1, 2),
        DeliveryTried(result="failed", status=500, error=Failure("not_taken", "500."), duration_s=0.25, due=AT),
    ),
    "delivery.tried.delivered": (HELD.tried(1, 3), DeliveryTried(result="delivered", status=204, duration_s=0.5)),
}
RECORDED = {f"v1/{name}.json": written for name, written in V1.items()}

tokens = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
numbers = st.integers(1, 999_999_999)
events = st.just("ended") | st.builds(lambda what, n: f"{what}-{n}", st.sampled_from(("hold", "near")), numbers)
deliveries = st.builds(Delivery, tokens, tokens, events)


def encoded(subject: str, record: Record) -> bytes:
    return envelope.encode_message(subject, record, run="golden", source="dossier/golden", time=AT)


def named(file: Path) -> str:
    return file.relative_to(GOLDEN).as_posix()


@pytest.mark.parametrize("file", FILES, ids=named)
def test_what_a_release_wrote_is_still_read_as_it_was_meant(file: Path):
    assert envelope.decode_record(file.read_bytes()) == RECORDED[named(file)][1]


@pytest.mark.parametrize("file", FILES, ids=named)
def test_this_release_writes_what_was_written(file: Path):
    assert msgspec.json.decode(encoded(*RECORDED[named(file)])) == msgspec.json.decode(file.read_bytes())


def test_every_record_has_a_golden_file():
    assert {named(file) for file in FILES} == set(RECORDED)


@given(delivery=deliveries, ask=numbers, n=numbers)
def test_a_box_is_its_subject(delivery: Delivery, ask: int, n: int):
    assert parse_delivery_slot(delivery.asked(ask)) == DeliverySlot(delivery, ask)
    assert parse_delivery_slot(delivery.tried(ask, n)) == DeliverySlot(delivery, ask, n)
    assert parse_delivery(delivery.id) == delivery


@given(one=deliveries, other=deliveries)
def test_events_of_one_id_are_one_event(one: Delivery, other: Delivery):
    assert (one.event_id == other.event_id) == ((one.run, one.event) == (other.run, other.event))


@pytest.mark.parametrize(
    "subject",
    [
        "delivery.ops.r1.hold-1",
        "delivery.ops.r1.hold-1.asked",
        "delivery.ops.r1.hold-1.asked.0",
        "delivery.ops.r1.hold-1.asked.01",
        "delivery.ops.r1.hold-1.asked.1.1",
        "delivery.ops.r1.hold-1.tried.1",
        "delivery.ops.r1.hold-0.asked.1",
        "delivery.ops.r1.hold.asked.1",
        "delivery.ops.r1.ended-1.asked.1",
        "delivery.ops.r1.ended.done.1",
        "delivery.o s.r1.ended.asked.1",
        "research.run.r1.completed",
        "",
    ],
)
def test_no_other_subject_is_a_box(subject: str):
    assert parse_delivery_slot(subject) is None


def test_what_is_no_record_is_unreadable():
    for message in (b"", b"{}", encoded(HELD.asked(1), V1["delivery.asked"][1]).replace(b".v1", b".v9")):
        with pytest.raises(Unreadable):
            envelope.decode_record(message)
