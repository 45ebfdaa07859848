"""Headers from outside: whatever they say, reading them raises nothing and gives a time that can be waited for."""

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.runtime.headers import LONGEST_WAIT_S, parse_date, retry_after_s

NOW = datetime(2027, 1, 1, tzinfo=UTC)
IN_90_S = "Fri, 01 Jan 2027 00:01:30 GMT"
YEAR_OF_11_DIGITS = "Mon, 01 Jan 12345678901 00:00:00 GMT"
ZONE_OF_14_DIGITS = "Mon, 01 Jan 2020 00:00:00 +99999999999999"
DATES = st.builds(
    "{}, {} {} {} {}:{}:{} {}".format,
    st.sampled_from(["Mon", "Fri", "x", ""]),
    st.integers(),
    st.sampled_from(["Jan", "Dec", "Foo", "13"]),
    *[st.integers()] * 4,
    st.sampled_from(["GMT", "+0000", "-9999", "+99999999999999", "EST", ""]),
)
TEXTS = st.one_of(st.text(), st.integers().map(str), st.floats().map(str), DATES)


@given(st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms", "date"]), TEXTS), st.sampled_from([NOW, None]))
@example({"retry-after": YEAR_OF_11_DIGITS}, NOW)
@example({"retry-after": ZONE_OF_14_DIGITS}, NOW)
@example({"retry-after": IN_90_S, "date": YEAR_OF_11_DIGITS}, NOW)
@example({"retry-after": "Fri, 31 Dec 9999 23:59:59 -2359", "date": "Mon, 01 Jan 0001 00:00:00 +2359"}, None)
@example({"retry-after": "9" * 5_000}, None)
def test_whatever_the_headers_say_the_wait_is_finite_or_unknown(headers: dict[str, str], now: datetime | None):
    seconds = retry_after_s(headers, now=now)
    assert seconds is None or 0 <= seconds <= LONGEST_WAIT_S


@given(TEXTS)
@example(YEAR_OF_11_DIGITS)
@example(ZONE_OF_14_DIGITS)
def test_a_date_is_aware_or_none(text: str):
    date = parse_date(text)
    assert date is None or date.utcoffset() is not None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e999"}, None),
        ({"retry-after": YEAR_OF_11_DIGITS}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": " 0.5 "}, 0.5),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "-5"}, 0),
        ({"retry-after": "1e300"}, LONGEST_WAIT_S),
        ({"retry-after": "7", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "7", "retry-after-ms": "nan"}, 7),
        ({"retry-after": "7", "retry-after-ms": "0"}, 7),
        ({"retry-after": IN_90_S}, 90),
        ({"retry-after": IN_90_S, "date": "Fri, 01 Jan 2027 00:01:00 GMT"}, 30),
        ({"retry-after": IN_90_S, "date": "yesterday"}, 90),
        ({"retry-after": "Fri, 01 Jan 2027 00:01:30"}, 90),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0),
    ],
)
def test_a_wait_is_read_in_milliseconds_seconds_or_until_a_date(headers: dict[str, str], seconds: float | None):
    assert retry_after_s(headers, now=NOW) == seconds


def test_without_a_clock_a_date_counts_from_the_date_of_the_response_alone():
    assert retry_after_s({"retry-after": IN_90_S}) is None
    assert retry_after_s({"retry-after": IN_90_S, "date": "Fri, 01 Jan 2027 00:00:00 GMT"}) == 90
