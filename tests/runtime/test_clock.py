"""Time and ids."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from shared.contracts.subjects import is_reserved, is_token
from shared.runtime import clock


def test_now_is_in_utc_and_does_not_go_back():
    first, second = clock.now(), clock.now()
    assert first.utcoffset() == timedelta(0)
    assert first <= second


@pytest.mark.parametrize(
    ("nanoseconds", "moment"),
    [
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        (999, datetime(1970, 1, 1, tzinfo=UTC)),
        (1_999, datetime(1970, 1, 1, 0, 0, 0, 1, UTC)),
        (1_767_323_045_678_901_999, datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)),
    ],
)
def test_nanoseconds_are_cut_to_microseconds_and_never_rounded(nanoseconds: int, moment: datetime):
    assert clock.at(nanoseconds) == moment


def test_a_uuid7_says_its_version_and_variant_and_is_a_run_id():
    for text in (clock.uuid7() for _ in range(200)):
        uuid = UUID(text)
        assert str(uuid) == text
        assert uuid.version == 7
        assert uuid.variant == "specified in RFC 4122"
        assert is_token(text)
        assert not is_reserved(text)


def test_a_uuid7_begins_with_its_millisecond():
    before = int(clock.now().timestamp() * 1_000)
    made = UUID(clock.uuid7()).int >> 80
    assert before <= made <= int(clock.now().timestamp() * 1_000)


def test_uuid7s_sort_by_time(monkeypatch: pytest.MonkeyPatch):
    moments = [0, 1_000_000, 255_000_000, 256_000_000, 1_767_323_045_678_000_000, 1_767_323_045_679_000_000]
    made = []
    for moment in moments:
        monkeypatch.setattr(clock.time, "time_ns", lambda moment=moment: moment)
        made.append(clock.uuid7())
    assert made == sorted(made)


def test_no_two_ids_are_the_same():
    assert len({clock.uuid7() for _ in range(2_000)}) == 2_000
    assert len({clock.token() for _ in range(2_000)}) == 2_000


def test_a_token_is_32_hex_digits():
    assert len(clock.token()) == 32
    assert int(clock.token(), 16) >= 0
