"""A message is taken, or refused by the name of the field and the reason."""

import json
from contextlib import suppress
from hashlib import sha256

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from shared.contracts.forks import Fork
from shared.contracts.requests import (
    MAX_ADDED,
    MAX_FEEDBACK,
    MAX_QUERY,
    MAX_QUESTION,
    Request,
    Revision,
    Ruling,
    check_revision,
    parse_duration_s,
    parse_request,
    parse_ruling,
    run_id_of,
    run_id_of_key,
)
from shared.contracts.subjects import is_reserved, is_token
from shared.errors import InvalidMessage

FULL = {
    "q": "Why?",
    "run_id": "mine",
    "approval": "auto",
    "approval_timeout": "2h",
    "max_cost_usd": 0.5,
    "tools": ["docs"],
    "requested_by": "ann",
}


def encoded(content: object) -> bytes:
    return json.dumps(content).encode()


def test_a_full_request_is_taken_as_it_is():
    assert parse_request(encoded(FULL)) == Request(
        q="Why?",
        run_id="mine",
        approval="auto",
        approval_timeout="2h",
        max_cost_usd=0.5,
        tools=("docs",),
        requested_by="ann",
    )


def test_a_question_is_enough():
    assert parse_request(b'{"q": "Why?"}') == Request(q="Why?")


def test_a_fork_needs_no_question():
    wish = {"run_id": "old", "from": "fetch", "replace": {"cats": "kittens"}, "tools": []}
    taken = parse_request(encoded({"run_id": "new", "requested_by": "ann", "fork": wish}))
    expected = Fork(run_id="old", step="fetch", replace={"cats": "kittens"}, tools=())
    assert taken == Request(run_id="new", requested_by="ann", fork=expected)


def test_a_request_that_forks_nothing_has_the_hash_that_it_always_had():
    assert parse_request(encoded(FULL)).content_sha256 == sha256(encoded_before(FULL)).hexdigest()


def encoded_before(content: dict[str, object]) -> bytes:
    """What earlier releases hashed: the fields in order, without the run's id and without spaces."""
    return json.dumps({name: content[name] for name in content if name != "run_id"}, separators=(",", ":")).encode()


def forking(**wish: object) -> dict[str, object]:
    return {"fork": {"run_id": "old"} | wish}


REFUSED_REQUESTS = [
    ({"q": "Why?", "fork": {"run_id": "old"}}, "q", "put it into the field fork"),
    ({"approval": "required", "fork": {"run_id": "old"}}, "approval", "put it into the field fork"),
    ({"fork": {}}, "fork.run_id", "required"),
    ({"fork": {"run_id": "a.b"}}, "fork.run_id", "no run id"),
    (forking(step="plan"), "fork.step", "no such field"),
    (forking(**{"from": "hold"}), "fork.from", "'hold'"),
    (forking(q=" "), "fork.q", "empty"),
    (forking(approval_timeout="soon"), "fork.approval_timeout", "'soon'"),
    (forking(max_cost_usd=0), "fork.max_cost_usd", "more than 0"),
    (forking(tools=["a.b"]), "fork.tools", "'a.b'"),
    (forking(add=[" "]), "fork.add", "1 to 120 characters"),
    (forking(add=["x"] * 21), "fork.add", "at most 20"),
    (forking(replace={"a": "x" * 1_001}), "fork.replace", "1 to 120 characters"),
    ({}, "q", "required"),
    ({"q": ""}, "q", "empty"),
    ({"q": " \n\t"}, "q", "empty"),
    ({"q": "x" * (MAX_QUESTION + 1)}, "q", "8,001 characters"),
    ({"q": 1}, "q", "expected str, got int"),
    ({"q": None}, "q", "expected str, got null"),
    ({"q": "Why?", "aproval": "auto"}, "aproval", "no such field"),
    ({"q": "Why?", "missing": 1}, "missing", "no such field"),
    ({"q": "Why?", "approval": "AUTO"}, "approval", "'AUTO'"),
    ({"q": "Why?", "approval": True}, "approval", "got bool"),
    ({"q": "Why?", "approval_timeout": "soon"}, "approval_timeout", "'soon'"),
    ({"q": "Why?", "approval_timeout": 60}, "approval_timeout", "got int"),
    ({"q": "Why?", "approval_timeout": "367d"}, "approval_timeout", "366 days"),
    ({"q": "Why?", "max_cost_usd": 0}, "max_cost_usd", "more than 0"),
    ({"q": "Why?", "max_cost_usd": -1}, "max_cost_usd", "more than 0"),
    ({"q": "Why?", "max_cost_usd": "1"}, "max_cost_usd", "got str"),
    ({"q": "Why?", "tools": "docs"}, "tools", "expected array, got str"),
    ({"q": "Why?", "tools": [1]}, "tools[0]", "expected str, got int"),
    ({"q": "Why?", "tools": ["docs", "a.b"]}, "tools", "'a.b'"),
    ({"q": "Why?", "tools": [""]}, "tools", "''"),
    ({"q": "Why?", "run_id": ""}, "run_id", "no run id"),
    ({"q": "Why?", "run_id": "a.b"}, "run_id", "no run id"),
    ({"q": "Why?", "run_id": "a b"}, "run_id", "no run id"),
    ({"q": "Why?", "run_id": "x" * 65}, "run_id", "no run id"),
    ({"q": "Why?", "run_id": "r17"}, "run_id", "reserved"),
    ({"q": "Why?", "run_id": 1}, "run_id", "got int"),
    ({"q": "Why?", "requested_by": []}, "requested_by", "got array"),
]


@pytest.mark.parametrize(("content", "field", "reason"), REFUSED_REQUESTS)
def test_a_request_is_refused_by_field_and_reason(content: object, field: str, reason: str):
    refused(encoded(content), field, reason)


def refused(data: bytes, field: str, reason: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        (parse_ruling if b'"by"' in data else parse_request)(data)
    assert caught.value.field == field
    assert caught.value.code == "invalid_field"
    assert str(caught.value).startswith(f"{field}: ")
    assert reason in str(caught.value)


RULING = {"run_id": "mine", "by": "ann"}
REFUSED_RULINGS = [
    ({"by": "ann"}, "run_id", "required"),
    ({**RULING, "by": " "}, "by", "it is required"),
    ({**RULING, "by": 1}, "by", "got int"),
    ({**RULING, "run_id": "a.b"}, "run_id", "no run id"),
    ({**RULING, "run_id": ""}, "run_id", "no run id"),
    ({**RULING, "comment": "x" * 8_001}, "comment", "8,001 characters"),
    ({**RULING, "exclude": "all"}, "exclude", "expected array"),
    ({**RULING, "digest": 1}, "digest", "got int"),
    ({**RULING, "reason": "x"}, "reason", "no such field"),
]


@pytest.mark.parametrize(("content", "field", "reason"), REFUSED_RULINGS)
def test_a_decision_is_refused_by_field_and_reason(content: object, field: str, reason: str):
    refused(encoded(content), field, reason)


def test_a_decision_may_be_on_a_run_that_has_no_id_of_its_own():
    assert parse_ruling(encoded({"run_id": "r17", "by": "ann"})) == Ruling(run_id="r17", by="ann")


def test_a_decision_must_say_who_decided():
    with pytest.raises(InvalidMessage) as caught:
        parse_ruling(b'{"run_id": "mine"}')
    assert (caught.value.field, str(caught.value)) == ("by", "by: it is required.")


NOT_JSON = [b"", b"{", b'{"q": "Why?"', b"\xff", b'{"q": "\xff"}', b'{"q": "\\ud800"}', b"nope"]


@pytest.mark.parametrize("data", NOT_JSON)
def test_what_is_no_json_is_refused_as_a_whole(data: bytes):
    with pytest.raises(InvalidMessage) as caught:
        parse_request(data)
    assert (caught.value.code, caught.value.field) == ("not_json", "")


@pytest.mark.parametrize("data", [b"[]", b"1", b"null", b'"Why?"'])
def test_what_is_no_object_is_refused_as_a_whole(data: bytes):
    with pytest.raises(InvalidMessage, match="expected object") as caught:
        parse_request(data)
    assert caught.value.field == ""


LONG = "x" * 250_000
ENDLESS = {
    "timeout": {"q": "Why?", "approval_timeout": LONG},
    "tool": {"q": "Why?", "tools": [LONG]},
    "run id": {"q": "Why?", "run_id": LONG},
    "approval": {"q": "Why?", "approval": LONG},
    "unknown field": {"q": "Why?", LONG: 1},
}


@pytest.mark.parametrize("content", ENDLESS.values(), ids=ENDLESS.keys())
def test_a_refusal_is_short_however_long_the_message_is(content: object):
    """It is written to the log in its turn, and must fit in."""
    with pytest.raises(InvalidMessage) as caught:
        parse_request(encoded(content))
    assert len(caught.value.field) + len(str(caught.value)) < 2_000


@settings(deadline=None)
@given(data=st.binary(max_size=80) | st.text(max_size=40).map(str.encode))
def test_arbitrary_bytes_are_taken_or_refused_and_nothing_worse(data: bytes):
    for reads in (parse_request, parse_ruling):
        with suppress(InvalidMessage):
            reads(data)


@pytest.mark.parametrize("data", [b"[" * 100_000, b'{"q": ' + b"[" * 100_000, b'{"tools": [' + b'{"a":' * 100_000])
def test_nesting_without_end_is_refused(data: bytes):
    with pytest.raises(InvalidMessage):
        parse_request(data)


# Durations


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1),
        ("90s", 90),
        ("30m", 1_800),
        ("2h", 7_200),
        ("14d", 1_209_600),
        ("1h30m", 5_400),
        ("1.5h", 5_400),
        ("1d12h30m15s", 131_415),
        ("366d", 31_622_400),
        ("0.5s0.5s", 1),
    ],
)
def test_a_duration_in_seconds(text: str, seconds: float):
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0s",
        "0.9s",
        "90",
        "h",
        "1 h",
        "-1h",
        "+1h",
        "1H",
        "1w",
        "1h ",
        "1e3s",
        ".5h",
        "1.h",
        "366d1s",
        "9" * 400 + "s",
    ],
)
def test_what_is_no_duration_between_a_second_and_a_year_is_refused(text: str):
    with pytest.raises(InvalidMessage):
        parse_duration_s(text)


# The id of a run


@pytest.mark.parametrize(
    ("own", "msg_id", "expected"),
    [
        ("mine", "theirs", "mine"),
        ("mine", None, "mine"),
        (None, "theirs", "theirs"),
        (None, "a.b", f"m{sha256(b'a.b').hexdigest()[:32]}"),
        (None, "ä" * 80, f"m{sha256(('ä' * 80).encode()).hexdigest()[:32]}"),
        (None, "r17", f"m{sha256(b'r17').hexdigest()[:32]}"),
        (None, "", "r7"),
        (None, None, "r7"),
    ],
)
def test_a_run_is_called_by_its_own_id_else_its_message_else_its_place(
    own: str | None, msg_id: str | None, expected: str
):
    assert run_id_of(Request(q="Why?", run_id=own), msg_id=msg_id, seq=7) == expected


@given(key=st.text(min_size=1))
def test_any_key_stands_for_one_run_id_that_is_nobody_elses(key: str):
    name = run_id_of_key(key)
    assert is_token(name)
    assert not is_reserved(name)
    assert name == run_id_of_key(key)


# The content of a request


def test_the_same_content_has_the_same_hash_whatever_its_id_order_and_spelt_out_defaults():
    asked = parse_request(b'{"q": "Why?", "tools": ["docs"]}')
    again = parse_request(
        b'{"approval": "required", "run_id": "mine", "tools": ["docs"], "max_cost_usd": null, "q": "Why?"}'
    )
    assert again.content_sha256 == asked.content_sha256


@pytest.mark.parametrize("change", [{name: value} for name, value in FULL.items() if name not in ("q", "run_id")])
def test_any_other_content_has_another_hash(change: dict[str, object]):
    plain = parse_request(encoded({"q": "Why?"}))
    assert parse_request(encoded({"q": "Why?", **change})).content_sha256 != plain.content_sha256
    assert parse_request(encoded({"q": "What?"})).content_sha256 != plain.content_sha256


def revision(**more: object) -> Revision:
    return Revision(**{"run_id": "r1", "by": "ann", "feedback": "More on dogs.", **more})  # type: ignore[arg-type]


def test_a_revision_at_its_fullest_is_taken():
    check_revision(
        revision(feedback="x" * MAX_FEEDBACK, queries_add=tuple(f"{n}" * MAX_QUERY for n in range(MAX_ADDED)))
    )


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"feedback": " "}, "feedback"),
        ({"feedback": "x" * (MAX_FEEDBACK + 1)}, "feedback"),
        ({"queries_add": tuple("abcdef")}, "queries_add"),
        ({"queries_add": ("",)}, "queries_add"),
        ({"queries_add": ("?!",)}, "queries_add"),
        ({"queries_add": ("x" * (MAX_QUERY + 1),)}, "queries_add"),
        ({"queries_add": ("a", "a")}, "queries_add"),
    ],
)
def test_a_revision_that_nobody_could_plan_from_is_refused_by_field(more: dict[str, object], field: str):
    with pytest.raises(InvalidMessage) as caught:
        check_revision(revision(**more))
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}: ")


@pytest.mark.parametrize("usd", [0, -1, 1e400])
def test_a_decision_cannot_set_a_limit_of_nothing(usd: float):
    with pytest.raises(InvalidMessage) as caught:
        parse_ruling(encoded({"run_id": "r1", "by": "ann", "max_cost_usd": usd}).replace(b"Infinity", b"1e400"))
    assert caught.value.field == "max_cost_usd"
