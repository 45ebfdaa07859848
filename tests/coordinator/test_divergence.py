"""Whether a log is the one that was folded, and which sequences it may give again."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest

from services.coordinator.engine.divergence import MARGIN, Checkpoint, Divergence, divergence, owed
from shared.contracts.messages import Message
from shared.runtime.log import End

CREATED = datetime(2026, 1, 1, tzinfo=UTC)
STORED = datetime(2026, 1, 2, tzinfo=UTC)
DATA = b'{"q":"Why?"}'
FOLDED = Checkpoint(CREATED.isoformat(), 479, sha256(DATA).hexdigest(), STORED.isoformat(), last=479)
NOTHING = Checkpoint(CREATED.isoformat(), 0, sha256(b"").hexdigest())


def end(last: int, created: datetime = CREATED) -> End:
    return End(last, STORED, created, last)


def message(data: bytes = DATA, time: datetime = STORED) -> Message:
    return Message("research.requested", 479, time, data)


@pytest.mark.parametrize("last", [479, 480, 100_000])
def test_the_log_that_was_folded_is_known_again(last: int):
    assert divergence(FOLDED, end(last), message()) is None


def test_a_log_of_which_nothing_is_folded_is_any_log_of_that_stream():
    assert divergence(NOTHING, end(0), None) is None
    assert divergence(NOTHING, end(5, CREATED + timedelta(days=1)), None) is not None


def test_a_checkpoint_of_an_earlier_release_has_no_time_to_compare():
    old = Checkpoint(FOLDED.created, FOLDED.seq, FOLDED.sha256)
    assert divergence(old, end(479), message(time=STORED + timedelta(days=1))) is None


@pytest.mark.parametrize(
    ("ends", "stands", "says"),
    [
        (end(89), None, "it ends at 89, and was read up to 479"),
        (end(500, CREATED + timedelta(days=1)), message(), "its stream was created at 2026-01-02"),
        (end(500), message(b"another"), "message 479 is another one than was read there"),
        (end(500), message(time=STORED + timedelta(microseconds=1)), "message 479 is another one"),
    ],
    ids=["a lost tail", "another stream", "other data", "the same data, stored later"],
)
def test_another_log_is_named_and_gives_sequences_again(ends: End, stands: Message | None, says: str):
    found = divergence(FOLDED, ends, stands)
    assert found is not None
    assert says in found.reason
    assert owed(FOLDED, found) == 479 + MARGIN


def test_an_end_that_was_only_seen_counts_as_well():
    seen = Checkpoint(FOLDED.created, FOLDED.seq, FOLDED.sha256, FOLDED.time, last=600)
    found = divergence(seen, end(599), message())
    assert found == Divergence("it ends at 599, and was read up to 600")
    assert owed(seen, found) == 600 + MARGIN


def test_a_message_that_was_deleted_gives_no_sequence_again():
    found = divergence(FOLDED, end(480), None)
    assert found is not None
    assert owed(FOLDED, found) == 0


def test_what_is_owed_of_an_earlier_truncation_stays_owed():
    before = Checkpoint(CREATED.isoformat(), 12, "", "", last=12, owed=50_000)
    assert owed(before, Divergence("it ends at 3")) == 50_000
