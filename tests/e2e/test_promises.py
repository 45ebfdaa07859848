"""What Dossier promises, with a real server and real processes; a stub for model and tools."""

import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import accumulate

import pytest

from shared.runtime import clock
from tests.harness.client import Client, Json
from tests.harness.deployment import Deployment
from tests.harness.environment import number
from tests.harness.http import Answer
from tests.harness.waiting import wait_until

Alone = Callable[..., Deployment]

RACES = number("E2E_RACES", 40)
"""Runs whose approval and deadline are raced; up to 200."""


def reported(client: Client, run: str) -> Json:
    """The completion of a run that is approved as soon as it is held."""
    client.until(run, "hold")
    assert client.approve(run).status == 200
    return client.completed(run)


def everything_before_is_dealt_with(client: Client) -> None:
    """Messages are taken in order, so a new run that is done means that what was published before it is."""
    reported(client, client.request())


def every_box_once(client: Client, run: str) -> bool:
    """Whether nothing of a run is recorded twice."""
    return set(client.counts(f"research.run.{run}.>").values()) == {1}


def test_a_request_over_nats_and_an_approval_over_http_bring_exactly_one_completion(client: Client):
    run = client.request()
    held = client.until(run, "hold")
    assert client.approve(run).status == 200
    ended = client.completed(run)
    assert (ended["ok"], ended["outcome"], ended["digest"]) == (True, "reported", held["digest"])
    assert "The quick brown fox" in ended["report"]
    everything_before_is_dealt_with(client)
    assert len(client.completions(run)) == 1
    assert every_box_once(client, run)


def test_a_durable_subscriber_that_was_away_gets_every_completion_it_missed(client: Client):
    client.take("subscriber")
    runs = [client.request() for _ in range(3)]
    ended = [reported(client, run) for run in runs]
    assert client.take("subscriber") == ended
    assert client.take("subscriber") == []


@pytest.mark.parametrize("lost", [None, "data"], ids=["all-kept", "projection-lost"])
def test_a_run_on_hold_outlives_kill_9_of_everything(alone: Alone, lost: str | None):
    deployment = alone()
    deployment.start()
    client = deployment.client()
    run = client.request()
    held = client.until(run, "hold")
    deployment.kill()
    if lost:
        shutil.rmtree(deployment.folder / lost)
    deployment.start()
    wait_until(lambda: client.connected)
    assert client.until(run, "hold") == held
    assert client.approve(run).status == 200
    ended = client.completed(run)
    assert (ended["outcome"], ended["digest"]) == ("reported", held["digest"])
    assert len(client.take("late")) == 1
    assert every_box_once(client, run)


def test_a_run_that_nobody_decides_on_in_time_completes_as_expired_and_says_so_to_the_late(client: Client):
    run = client.request(approval_timeout="2s")
    ended = client.completed(run)
    assert (ended["ok"], ended["outcome"], ended["report"]) == (False, "expired", None)
    late = client.approve(run)
    assert late.status == 409
    assert late.body["state"] == "expired"
    assert "expired" in late.body["winner"]


def test_a_raced_decision_has_one_winner_and_every_approver_is_told_which(client: Client):
    timeout = f"{4 + RACES / 100:g}s"
    runs = [client.request(run_id=f"race-{i}", approval_timeout=timeout) for i in range(RACES)]
    moments = [datetime.fromisoformat(client.fact(run, "hold.1")["deadline"]).timestamp() for run in runs]
    people = [(run, by, i) for i, run in enumerate(runs) for by in ("alice", "bob")]

    def approve(person: tuple[str, str, int]) -> Answer:
        run, by, i = person
        time.sleep(max(0.0, moments[i] + _around_zero(i) - clock.now().timestamp()))
        return client.approve(run, by=by)

    with ThreadPoolExecutor(len(people)) as pool:
        answers = list(pool.map(approve, people))
    winners = [_winner(client, run, answers[2 * i : 2 * i + 2]) for i, run in enumerate(runs)]
    assert set(winners) == {"approved", "expired"}, "Nothing was raced: one side always won."


def _around_zero(i: int) -> float:
    """Seconds before or after its deadline at which run `i` is approved: most of them close to it, some two away."""
    return 2 * (2 * i / RACES - 1) ** 3


def _winner(client: Client, run: str, answers: list[Answer]) -> str:
    """What won, after the log, the completion and both answers were found to agree on it."""
    outcome = client.completed(run)["outcome"]
    assert client.counts(f"research.run.{run}.decision.>") == {f"research.run.{run}.decision.1": 1}
    decision = client.fact(run, "decision.1")
    won = decision["type"].split(".")[1]
    assert outcome == {"approved": "reported", "expired": "expired"}[won]
    told_so = {by for by, answer in zip(("alice", "bob"), answers, strict=True) if answer.status == 200}
    assert told_so == {decision["by"]} - {"deadline"}
    for answer in answers:
        assert answer.status in (200, 409), answer
        assert answer.status == 200 or answer.body["winner"].startswith(f"{won} by {decision['by']}")
    return won


def test_no_more_is_in_flight_than_the_limit_over_all_processes(alone: Alone):
    settings = {"DOSSIER_FETCH_LIMIT": "5", "STUB_DELAY_MS": "40", "STUB_IN_FLIGHT": "stub"}
    deployment = alone(workers=("plan", "fetch", "fetch", "fetch", "synthesize"), settings=settings)
    deployment.start()
    client = deployment.client()
    heard = client.listen("stub.fetch")
    runs = [client.request(approval="auto") for _ in range(8)]
    for run in runs:
        assert client.completed(run)["outcome"] == "reported"
    in_flight = list(accumulate(1 if said == b"+" else -1 for said in heard))
    assert len(heard) == 2 * 4 * len(runs)
    assert max(in_flight) == 5
    assert in_flight[-1] == 0


def test_the_same_request_at_once_and_later_is_one_run_and_one_completion(client: Client):
    refused = client.counts("research.invalid.>")

    def ask(_: int) -> str:
        return client.request(run_id="again")

    with ThreadPoolExecutor() as pool:
        assert list(pool.map(ask, range(2))) == ["again"] * 2
    reported(client, "again")
    ask(3)
    everything_before_is_dealt_with(client)
    assert len(client.completions("again")) == 1
    assert every_box_once(client, "again")
    assert client.counts("research.invalid.>") == refused


def test_the_same_message_id_is_the_same_run(client: Client):
    def publish() -> int:
        return client.publish("research.requested", {"q": "What does the fox do?"}, {"Nats-Msg-Id": "by-msg-id"})

    publish()
    reported(client, "by-msg-id")
    repeated = publish()
    everything_before_is_dealt_with(client)
    assert len(client.completions("by-msg-id")) == 1
    assert client.get(f"/v1/runs/r{repeated}").status == 404
