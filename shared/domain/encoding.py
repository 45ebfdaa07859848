"""Encoding of a coordinator's writes: facts for slots, refusals, and records of truncation. Pure."""

from datetime import datetime
from hashlib import sha256
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from shared.contracts import envelope
from shared.contracts.envelope import Event
from shared.contracts.facts import Fact, LogTruncated, RequestRefused, RunCompleted
from shared.contracts.messages import Fill
from shared.contracts.subjects import Slot, invalid, log_truncated
from shared.domain.budget import with_usage
from shared.domain.run import Run
from shared.errors import TooLarge

SOURCE: Final = "dossier/coordinator"


class PendingWrite(Struct, frozen=True):
    """A fact to be written to `slot`, or, if that is `None`, a refusal for `research.invalid.<seq>`."""

    fill: Fill
    slot: Slot | None = None
    event: Event | None = None
    answers: int | None = None
    """Sequence of the contract message that this answers, or `None`."""
    text: str | None = None
    """Text that the fact refers to. It must be in `EVIDENCE` before the fact is written."""


def encode_small_fact(
    slot: Slot, fact: Fact, trace: str | None, *, time: datetime, answers: int | None = None
) -> PendingWrite:
    """The fact for its slot, whole in one message. Raises `TooLarge` if it does not fit."""
    event = Event(fact, SOURCE, time, trace)
    return PendingWrite(Fill(slot.subject, envelope.encode(slot, event)), slot, event, answers)


def encode_fact(
    slot: Slot, fact: Fact, trace: str | None, *, time: datetime, answers: int | None = None, run: Run | None = None
) -> PendingWrite:
    """The fact for its slot; if it does not fit into one message, with its data or report as a text for `EVIDENCE`.

    If it is too large even for that, the completion of its run as failed, at the cost of `run`. Never raises.
    """
    event = Event(fact, SOURCE, time, trace)
    try:
        return encode_small_fact(slot, fact, trace, time=time, answers=answers)
    except TooLarge:
        pass
    try:
        if isinstance(fact, RunCompleted):
            return _without_report(slot, event, fact, answers)
        reference = envelope.encode_reference(slot, event)
        return PendingWrite(Fill(slot.subject, reference.message), slot, event, answers, reference.text)
    except TooLarge as error:
        decided = fact.digest if isinstance(fact, RunCompleted) else None
        failed = RunCompleted(run_id=slot.run, ok=False, outcome="failed", reason=str(error), digest=decided)
        failed = with_usage(failed, run) if run else failed
        return encode_fact(Slot(slot.run, "completed"), failed, trace, time=time, answers=answers)


def _without_report(slot: Slot, event: Event, fact: RunCompleted, answers: int | None) -> PendingWrite:
    """The completion without its report, which is named by its SHA-256 and returned as text for `EVIDENCE`.

    Subscribers of `research.completed` read the message alone, so it keeps everything else. Raises `TooLarge` if the
    report or the rest is over its limit.
    """
    report = fact.report or ""
    data = report.encode()
    if len(data) > envelope.MAX_TEXT_BYTES:
        raise TooLarge(f"The report would be {len(data):,} bytes; it may have {envelope.MAX_TEXT_BYTES:,}.")
    event = replace(event, fact=replace(fact, report=None, report_sha256=sha256(data).hexdigest()))
    return PendingWrite(Fill(slot.subject, envelope.encode(slot, event)), slot, event, answers, report)


def encode_refusal(why: RequestRefused, *, time: datetime) -> PendingWrite:
    """Refusal of a contract message, for `research.invalid.<seq>`."""
    subject = invalid(why.seq)
    data = envelope.encode_message(subject, why, source=SOURCE, time=time)
    return PendingWrite(Fill(subject, data), answers=why.seq)


def encode_truncation(last_seq: int, reason: str, *, time: datetime) -> Fill:
    """Record that the log was truncated, and that sequences up to `last_seq` may have been given before."""
    subject = log_truncated(last_seq)
    fact = LogTruncated(last_seq=last_seq, reason=reason)
    return Fill(subject, envelope.encode_message(subject, fact, source=SOURCE, time=time))
