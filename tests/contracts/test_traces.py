"""The trace of a run: what a traceparent names, and ids that follow from the run."""

import re

import pytest

from shared.contracts import traces
from shared.contracts.traces import Trace

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("traceparent", "is_sampled"),
    [
        (f"00-{TRACE_ID}-{SPAN_ID}-01", True),
        (f"00-{TRACE_ID}-{SPAN_ID}-00", False),
        (f"00-{TRACE_ID}-{SPAN_ID}-03", True),
        (f"cc-{TRACE_ID}-{SPAN_ID}-01", True),
        (f"cc-{TRACE_ID}-{SPAN_ID}-01-what-a-later-version-adds", True),
    ],
)
def test_a_traceparent_names_a_place_in_a_trace(traceparent: str, is_sampled: bool):
    assert traces.parse_traceparent(traceparent) == Trace(TRACE_ID, SPAN_ID, is_sampled)


@pytest.mark.parametrize(
    "traceparent",
    [
        None,
        "",
        "hello",
        f"ff-{TRACE_ID}-{SPAN_ID}-01",
        f"00-{'0' * 32}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"00-{TRACE_ID.upper()}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{SPAN_ID}-01-more",
        f"00-{TRACE_ID}-{SPAN_ID}-01\n",
        f"00-{TRACE_ID}-{SPAN_ID}",
    ],
)
def test_what_is_none_is_none(traceparent: str | None):
    assert traces.parse_traceparent(traceparent) is None


def test_a_run_without_a_trace_gets_one_whose_own_span_is_at_the_top():
    made = traces.parse_traceparent(traces.derive_traceparent("r7", 7))
    assert made
    assert made.is_sampled
    assert made.span_id == traces.run_span_id(made.trace_id, "r7")
    assert traces.derive_traceparent("r7", 7) == traces.derive_traceparent("r7", 7)
    assert traces.derive_traceparent("r7", 7) != traces.derive_traceparent("r8", 7)


def test_the_spans_that_others_stand_under_have_ids_of_their_own_that_anybody_can_work_out():
    ids = [
        traces.run_span_id(TRACE_ID, "r1"),
        traces.run_span_id(TRACE_ID, "r2"),
        traces.hold_span_id(TRACE_ID, "r1", 1),
        traces.hold_span_id(TRACE_ID, "r1", 2),
    ]
    assert len(set(ids)) == 4
    assert all(re.fullmatch("[0-9a-f]{16}", each) for each in ids)
    assert ids[0] == "2c6e94848e182002", "What one release wrote, the next one has to find."
