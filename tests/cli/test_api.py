"""The API from outside: what it refuses, and what it is when it is away for a while."""

import asyncio
import json
from contextlib import aclosing
from datetime import datetime, timedelta

import httpx2
import msgspec
import pytest

from services.cli.commands import decide, runs
from services.cli.render.progress import moment
from services.cli.shell.api import Api, Away, Refused
from services.cli.shell.follow import Follower, fold
from services.cli.shell.refusal import FAILED, MISUSED, Refusal
from services.cli.shell.terminal import Terminal
from services.coordinator.http.presenters import view
from shared.api.schemas import EventPage
from shared.contracts.facts import VoteCast
from shared.contracts.requests import Request
from shared.contracts.subjects import Slot
from shared.domain import keys
from tests.cli.api_events import HELD, events
from tests.coordinator.story import (
    DEADLINE,
    OTHER,
    RUN,
    SOURCE,
    accepted,
    approved,
    completed,
    found,
    given,
    hold,
    planned,
    revised,
    written,
)

WHOLE = (*HELD, approved(), written(), completed())
URL = "http://dossier.test"


def problem(status, code, **more):
    return httpx2.Response(status, json={"status": status, "code": code, "detail": f"Because of {code}.", **more})


def sse(*facts, after=0):
    """These facts as server-sent events, less those that the reader has."""
    sent = [event for event in events(*facts) if event.sequence > after]
    text = "".join(f"id: {event.sequence}\nevent: {event.type}\ndata: {event.model_dump_json()}\n\n" for event in sent)
    return httpx2.Response(200, text=text, headers={"content-type": "text/event-stream"})


class Server:
    """A server that gives these answers in order and keeps the requests."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def __call__(self, request):
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer(request) if callable(answer) else answer


def with_api(server, work, *, key=None):
    async def run():
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(server), base_url=URL) as http:
            return await work(Api(http, key=key))

    return asyncio.run(run())


def resumed(*facts):
    return lambda request: sse(*facts, after=int(request.headers["Last-Event-ID"]))


async def collected(api, **options):
    async with aclosing(api.events(RUN, **options)) as stream:
        return [event and event.slot async for event in stream]


SLOTS = [event.slot for event in events(*WHOLE)]


def test_events_are_told_to_the_end_of_the_run():
    assert with_api(Server(sse(*WHOLE)), collected) == SLOTS


def test_after_a_disconnect_it_goes_on_where_it_was():
    server = Server(sse(*WHOLE[:3]), httpx2.ConnectError("refused"), resumed(*WHOLE))
    heard = with_api(server, collected)
    assert [slot for slot in heard if slot] == SLOTS
    assert None in heard
    assert [request.headers["Last-Event-ID"] for request in server.asked] == ["0", "3", "3"]


def test_an_answer_cut_off_in_the_middle_of_an_event_is_asked_for_again():
    whole = sse(*WHOLE).text
    cut = httpx2.Response(200, text=whole[: len(whole) // 2], headers={"content-type": "text/event-stream"})
    assert with_api(Server(cut, resumed(*WHOLE)), collected) == SLOTS


def test_a_coordinator_in_trouble_is_waited_for():
    assert with_api(Server(problem(503, "nats_unavailable"), sse(*WHOLE)), collected) == SLOTS


def test_a_run_that_nobody_knows_is_refused():
    with pytest.raises(Refused, match=r"unknown_run"):
        with_api(Server(problem(404, "unknown_run")), collected)


def test_a_run_whose_request_is_in_the_log_is_waited_for():
    server = Server(problem(404, "unknown_run"), sse(*WHOLE))
    assert with_api(server, lambda api: collected(api, since=7)) == SLOTS
    assert server.asked[0].headers["Dossier-Sequence"] == "7"


def test_a_follower_has_the_run_as_wanted_or_ended():
    async def follow(api):
        follower = Follower(api, RUN, changed=lambda _: None)
        held = await follower.until(lambda run: run.status == "hold")
        ended = await follower.until(lambda _: False)
        await follower.close()
        return held.status, ended.status

    assert with_api(Server(sse(*HELD), resumed(*WHOLE)), follow) == ("hold", "reported")


def test_a_follower_passes_on_what_the_api_refuses():
    async def follow(api):
        follower = Follower(api, RUN, changed=lambda _: None)
        try:
            await follower.until(lambda _: False)
        finally:
            await follower.close()

    with pytest.raises(Refused):
        with_api(Server(problem(404, "unknown_run")), follow)


def show(api):
    return api.run(RUN)


@pytest.mark.parametrize(
    ("answer", "sentence", "code"),
    [
        (problem(409, "decided"), "Because of decided. (decided)", FAILED),
        (problem(409, "decided", winner="ada"), "Because of decided. What holds: ada. (decided)", FAILED),
        (problem(409, "decided", winner="of decided"), "Because of decided. (decided)", FAILED),
        (problem(422, "invalid_field"), "Because of invalid_field. (invalid_field)", MISUSED),
        (httpx2.Response(500, text="<html>"), "The API gave no reason. (unknown)", FAILED),
        (httpx2.Response(200, json={}), "does not fit this release", FAILED),
    ],
)
def test_every_error_is_one_sentence_and_an_exit_code(answer, sentence, code):
    with pytest.raises(Refusal) as refused:
        with_api(Server(answer), show)
    assert sentence in str(refused.value)
    assert refused.value.code == code


def test_nobody_there_is_said_with_what_to_do():
    with pytest.raises(Away, match=r"Nothing answers at http://dossier.test.*dossier up"):
        with_api(Server(httpx2.ConnectError("refused")), show)


def test_a_run_id_stays_one_part_of_the_path():
    server = Server(problem(404, "unknown_run"))
    with pytest.raises(Refused):
        with_api(server, lambda api: api.run("../x?y"))
    assert server.asked[0].url.raw_path == b"/v1/runs/..%2Fx%3Fy"


def run_view(*facts):
    return httpx2.Response(200, text=view(given(*facts).run).model_dump_json())


def approving(*exclude):
    return lambda api: decide.approve(api, Terminal(), RUN, comment="Fine.", exclude=exclude)


TWO = (accepted(), planned("a"), found(0, SOURCE, OTHER), hold(of="e" * 64))


def test_an_approval_is_of_the_evidence_that_was_read():
    server = Server(run_view(*TWO), run_view(*TWO, approved()))
    with_api(server, approving("b" * 6))
    sent = server.asked[1]
    assert sent.headers["If-Match"] == f'"{"e" * 64}"'
    body = json.loads(sent.content)
    assert (body["decision"], body["comment"], body["exclude"]) == ("approve", "Fine.", [OTHER.sha256])
    assert body["by"]


def test_with_a_key_it_is_the_key_that_says_who_asks_and_decides():
    ann = keys.format_key("abc123", "0" * 64)
    server = Server(run_view(*TWO), run_view(*TWO, approved()))
    with_api(server, approving(), key=ann)
    assert "by" not in json.loads(server.asked[1].content)
    taken = httpx2.Response(202, json={"run_id": RUN, "location": "/", "sequence": 7})
    server = Server(taken)
    request = Request(q="Why?", run_id=RUN, requested_by="ada", approval_timeout="2h")
    assert with_api(server, lambda api: api.ask(request), key=ann) == 7
    assert server.asked[0].headers["Idempotency-Key"] == RUN
    assert json.loads(server.asked[0].content) == {"q": "Why?", "approval_timeout": "2h"}


def test_an_approval_of_which_more_are_needed_is_said_to_be_one(capsys):
    slot, opened = hold(of="e" * 64)
    vote = VoteCast(by="ada", via="api", auth="key:1", digest="e" * 64)
    two = (*TWO[:-1], (slot, msgspec.structs.replace(opened, quorum=2)))
    server = Server(run_view(*two), run_view(*two, (Slot(RUN, "vote", 1, voter="0" * 32), vote)))
    with_api(server, approving(), key=keys.format_key("abc123", "0" * 64))
    assert "Approved (1 of 2 approvals)" in capsys.readouterr().err


def test_a_run_that_is_not_on_hold_cannot_be_approved_unseen():
    server = Server(run_view(accepted()))
    with pytest.raises(Refusal, match="is not on hold; it is planning"):
        with_api(server, approving())
    assert len(server.asked) == 1


@pytest.mark.parametrize("prefix", ["f", ""])
def test_an_exclusion_names_one_source(prefix):
    server = Server(run_view(*TWO))
    with pytest.raises(Refusal, match="whose hash begins with it") as refused:
        with_api(server, approving(prefix))
    assert refused.value.code == MISUSED
    assert len(server.asked) == 1


def revising(**more):
    return lambda api: decide.revise(api, Terminal(), RUN, "No, more on dogs.", **more)


def test_a_revision_sends_the_words_and_names_sub_queries_by_number_or_by_name():
    told = (accepted(), planned("a", "b"), found(0), found(1, OTHER), hold(of="e" * 64))
    server = Server(run_view(*told), run_view(*told, revised()))
    with_api(server, revising(add=["birds"], drop=["2", "a"], exclude=["b" * 6], max_cost=2.5))
    sent = server.asked[1]
    assert sent.headers["If-Match"] == f'"{"e" * 64}"'
    body = json.loads(sent.content)
    assert (body["decision"], body["feedback"], body["queries_add"]) == ("revise", "No, more on dogs.", ["birds"])
    assert (body["queries_drop"], body["exclude"], body["max_cost_usd"]) == (["q1", "a"], [OTHER.sha256], 2.5)


@pytest.mark.parametrize("drop", ["0", "2", "-1", "²", "wolves"])
def test_a_sub_query_that_is_not_there_cannot_be_dropped(drop):
    server = Server(run_view(*TWO))
    with pytest.raises(Refusal, match="--drop") as refused:
        with_api(server, revising(drop=[drop]))
    assert refused.value.code == MISUSED
    assert len(server.asked) == 1


def test_an_approval_says_a_limit_only_where_somebody_gave_one():
    for most, expected in ((None, False), (1.5, True)):
        server = Server(run_view(*TWO), run_view(*TWO, approved()))
        with_api(server, lambda api, most=most: decide.approve(api, Terminal(), RUN, comment="", max_cost=most))
        assert ("max_cost_usd" in json.loads(server.asked[1].content)) is expected


def test_a_report_that_is_too_large_for_its_message_is_shown_all_the_same(capsys):
    slot, fact = completed()
    ended = slot, msgspec.structs.replace(fact, report_sha256="a" * 64)
    page = EventPage(run_id=RUN, events=list(events(*WHOLE[:-1], ended)))
    report = httpx2.Response(200, text="# What do cats do?\n\nCats purr. [1]\n")
    server = Server(run_view(*WHOLE[:-1], ended), httpx2.Response(200, text=page.model_dump_json()), report)
    with_api(server, lambda api: runs.show(api, Terminal(), RUN, as_json=False))
    assert server.asked[2].url.path == f"/v1/runs/{RUN}/report"
    assert "Cats purr. [1]" in capsys.readouterr().out


def test_a_finding_whose_text_is_gone_is_a_failure_and_not_a_newer_release():
    [*before, gone, hold] = events(*HELD)
    run = fold(RUN, [*before, gone.model_copy(update={"data": None}), hold])
    assert run.status == "hold"
    assert "EVIDENCE" in run.findings()[1].failure.message


# More time


def held_until(deadline):
    return httpx2.Response(
        200, text=view(given(*HELD[:-1], hold(deadline=deadline)).run).model_dump_json(by_alias=True)
    )


def extend(more):
    return lambda api: decide.extend(api, Terminal(), RUN, more, comment="At lunch.")


def test_an_extension_is_counted_from_the_deadline_that_there_is(capsys):
    server = Server(held_until(DEADLINE), held_until(DEADLINE + timedelta(minutes=90)))
    with_api(server, extend("1h30m"))
    sent = json.loads(server.asked[1].content)
    assert datetime.fromisoformat(sent["deadline"]) == DEADLINE + timedelta(minutes=90)
    assert sent["comment"] == "At lunch."
    assert server.asked[1].url.path == f"/v1/runs/{RUN}/extension"
    assert moment(DEADLINE + timedelta(minutes=90)) in capsys.readouterr().err


@pytest.mark.parametrize("more", ["soon", "0s", "-2h", "900d"])
def test_what_is_no_duration_extends_nothing(more):
    server = Server(held_until(DEADLINE))
    with pytest.raises(Refusal, match="DURATION") as refused:
        with_api(server, extend(more))
    assert refused.value.code == MISUSED
    assert len(server.asked) == 1


def test_a_run_that_is_not_on_hold_is_not_extended():
    server = Server(httpx2.Response(200, text=view(given(accepted()).run).model_dump_json(by_alias=True)))
    with pytest.raises(Refusal, match="not on hold"):
        with_api(server, extend("2h"))
