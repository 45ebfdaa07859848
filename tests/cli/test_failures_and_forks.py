"""Failures, waits and forks on the command line: what is sent, what is shown, and how it ends."""

import json
from datetime import timedelta

import httpx2
import pytest
from rich.console import Console

from services.cli.commands.fork import fork as fork_command
from services.cli.render import diagnosis, pages
from services.cli.shell.filters import start_of
from services.cli.shell.refusal import FAILED, MISUSED, Refusal
from services.cli.shell.terminal import Terminal
from services.coordinator.http.presenters import summary, view
from shared.api.schemas import LateView, RunPage
from shared.api.views import FailurePage, ForkedRow, WhyView, failure_view, wait_view
from shared.contracts.messages import Queue
from shared.domain.diagnosis import Observations, diagnose
from shared.domain.failures import failed_attempts, failed_input, run_failures
from shared.domain.steps import lateness
from tests.cli.terminals import Dossier
from tests.cli.test_api import RUN, Server, with_api
from tests.coordinator.story import FETCH_0, FETCH_1, START, accepted, attempt_failed, given, issued, not_found, planned

LONG = "f" * 36
NOW = START + timedelta(minutes=10)


def shown(renderable: object, width: int = 80) -> str:
    """Output of a terminal of that width."""
    console = Console(width=width, highlight=False)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def forked(**more: object) -> httpx2.Response:
    body = {"run_id": "new", "location": "/v1/runs/new", "sequence": 9, "forked": RUN, "from": "fetch", "reused": 3}
    return httpx2.Response(202, json=body | more)


def sent(server: Server, number: int = -1) -> dict:
    return json.loads(server.asked[number].content)


def fork(*, key: str | None = "k", **typed: object):
    """`dossier fork RUN` with these options."""
    return lambda api: fork_command(api, Terminal(), RUN, key=key, **typed)


def fork_all(**typed: object):
    """`dossier fork` with these options, which select runs."""
    return lambda api: fork_command(api, Terminal(), key="k", **typed)


def run_view(*facts: object) -> httpx2.Response:
    return httpx2.Response(200, text=view(given(*facts).run).model_dump_json(by_alias=True))


def test_a_fork_sends_what_was_typed_and_nothing_else(capsys):
    server = Server(forked())
    with_api(server, fork(step="fetch", repeat_all=True, approval="auto", tool=["docs"]))
    assert server.asked[0].headers["Idempotency-Key"] == "k"
    body = sent(server)
    assert body.pop("requested_by")
    assert body == {"from": "fetch", "all": True, "approval": "auto", "tools": ["docs"]}
    assert "from fetch; 3 recorded facts reused" in capsys.readouterr().err


def test_sub_queries_are_named_by_number_or_by_text():
    server = Server(run_view(accepted(), planned()), forked())
    with_api(server, fork(step="fetch", replace=["2=puppies=young dogs"], drop=["cats"], add=["birds"]))
    body = sent(server)
    assert (body["replace"], body["drop"], body["add"]) == ({"dogs": "puppies=young dogs"}, ["cats"], ["birds"])


@pytest.mark.parametrize(
    ("edits", "code"),
    [({"drop": ["3"]}, FAILED), ({"replace": ["2"]}, MISUSED), ({"replace": ["2="]}, MISUSED)],
)
def test_a_sub_query_that_is_not_there_is_refused_before_anything_is_forked(edits: dict, code: int):
    server = Server(run_view(accepted(), planned()))
    with pytest.raises(Refusal) as refused:
        with_api(server, fork(**edits))
    assert refused.value.code == code
    assert len(server.asked) == 1


def row(run_id: str, result: str, **more: object) -> dict:
    return {"run_id": run_id, "status": "failed", "q": "Why?", "result": result, **more}


def test_many_are_forked_page_by_page_with_one_key(capsys):
    pages_ = [
        {"forks": [row("a", "forked", fork_id="fa", **{"from": "plan"})], "next": "7"},
        {"forks": [row("b", "refused", error={"code": "not_that_far", "message": "No plan."})], "next": None},
    ]
    server = Server(*(httpx2.Response(200, json=page) for page in pages_))
    assert with_api(server, fork_all(status=["failed"])) is False
    assert [request.headers["Idempotency-Key"] for request in server.asked] == ["k", "k"]
    assert (sent(server, 0)["status"], sent(server, 1)["cursor"]) == (["failed"], "7")
    said = capsys.readouterr()
    assert "--key k" in said.err
    assert "2 runs: 1 forked, 1 refused." in said.err
    assert "→ fa" in said.out
    assert "No plan." in said.out


def test_a_dry_run_says_so_to_the_api_and_json_is_all_there_is(capsys):
    page = {"forks": [row("a", "would_fork", **{"from": "plan"})], "next": None}
    server = Server(httpx2.Response(200, json=page))
    assert with_api(server, fork_all(dry_run=True, as_json=True, code="boom")) is True
    assert sent(server)["dry_run"] is True
    [one] = json.loads(capsys.readouterr().out)["forks"]
    assert (one["run_id"], one["from"]) == ("a", "plan")


def test_edits_of_one_run_are_not_made_to_many():
    with pytest.raises(Refusal, match="for one run"):
        with_api(Server(), fork_all(q="One for all?", status=["failed"]))


def test_so_long_ago_is_a_moment_and_no_duration_is_refused():
    assert start_of("2h").endswith("Z")
    with pytest.raises(Refusal, match="--since"):
        start_of("soon")


def failures(width: int) -> str:
    run = given(accepted(), planned(), attempt_failed(FETCH_1, 1), issued(FETCH_1, 2), not_found(1)).run
    views = [failure_view(one, failed_attempts(run, one), failed_input(run, one)) for one in run_failures(run)]
    long = [one.model_copy(update={"run_id": LONG}) for one in views]
    return shown(diagnosis.failures_table(FailurePage(failures=long, next=None), NOW), width)


@pytest.mark.parametrize("width", [80, 140])
def test_a_failure_is_shown_with_what_was_asked_and_every_attempt(width: int):
    said = failures(width)
    for text in ("fetch 2", "boom", LONG, "q1", "It went boom.", "attempt 1, 10m ago: boom: It went boom."):
        assert text in said
    assert max(map(len, said.splitlines())) <= width


@pytest.mark.parametrize("width", [80, 140])
def test_a_list_of_runs_never_cuts_an_id_or_a_status(width: int):
    one = summary(
        given(accepted(), planned()).run, lateness(given(accepted(), planned()).run, NOW, timedelta(minutes=5))
    )
    run = one.model_copy(update={"run_id": LONG, "q": "Why? " * 40})
    said = shown(pages.runs_table(RunPage(runs=[run], next=None), NOW, width=width), width)
    assert LONG in said
    assert "fetching  10m" in said
    assert max(map(len, said.splitlines())) <= width


def test_fetches_that_wait_alike_are_told_once():
    run = given(accepted(), planned("a", "b", "c"), *(issued(step, 1) for step in (FETCH_0, FETCH_1))).run
    queue = Queue(waiting=2, in_flight=0, limit=5, redelivered=0, asking=0, handed_out=0)
    waits = [
        wait_view(wait, 4)
        for wait in diagnose(run, Observations(now=NOW, attempts=4, led=True, queues={"fetch": queue}))
    ]
    late_ = LateView(code="unanswered", since=START, reason="")
    said = WhyView(**waits[0].model_dump(), run_id=run.id, status=run.status, at=NOW, late=late_, others=waits[1:])
    text = shown(diagnosis.why_page(said))
    assert "Its fetch 1 of 3" in text
    assert "Likewise fetch 2 of 3." in text
    assert "Its fetch 2 of 3" not in text
    assert "The task of its fetch 3 of 3 is due" in text
    assert "late: due for 10m" in text


def test_what_was_fetched_cannot_speak_to_the_terminal():
    error = {"code": "boom", "message": "\x1b[2Jgone"}
    table = diagnosis.forks_table([ForkedRow.model_validate(row("a", "refused", error=error))])
    assert "\x1b" not in shown(table)


@pytest.mark.parametrize("arguments", [(), ("r1", "--status", "failed"), ("r1", "--dry-run")])
def test_one_run_is_named_or_many_are_described(tmp_path, arguments):
    done = Dossier(tmp_path)("fork", *arguments, "--api", "http://127.0.0.1:9")
    assert done.returncode == MISUSED
    assert "Name one run" in done.stderr
