"""Whatever goes wrong is found, explained and done over: with a real server and real processes."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.client import Client, Json
from tests.harness.deployment import Deployment
from tests.harness.waiting import wait_until

DELIVERIES = 5
MANY = 20
_PATIENCE_S = 30.0


class World:
    """A Dossier whose workers can be made to fail and to die, and mended again."""

    def __init__(self, folder: Path) -> None:
        self._journal, self._trouble = folder / "journal", folder / "trouble"
        settings = {"STUB_JOURNAL": str(self._journal), "STUB_TROUBLE": str(self._trouble)}
        self.deployment = Deployment(folder, settings=settings)

    def start(self) -> None:
        self.deployment.start()
        self.client: Client = self.deployment.client()
        self.ended(self.ask("Is all well?", approval="auto"), "reported")

    def trouble(self, **trouble: list[str]) -> None:
        """From now on these kinds of tasks are in trouble, and no others."""
        self._trouble.write_text(json.dumps(trouble))

    def performed(self, q: str) -> Counter[str]:
        """How often each kind of task of this question was begun."""
        lines = [json.loads(line) for line in self._journal.read_text().splitlines()]
        return Counter(line["kind"] for line in lines if line["about"].endswith(q))

    def ask(self, q: str, **fields: object) -> str:
        return self.client.request(q, **fields)

    def why(self, run: str) -> Json:
        return self.client.get(f"/v1/runs/{run}/why").body

    def until_why(self, run: str, code: str, kind: str | None = None) -> Json:
        """What is said of a run as soon as that is what it waits for."""

        def said() -> Json | None:
            why = self.why(run)
            return why if (why.get("code"), why.get("kind")) == (code, kind) else None

        return wait_until(said, _PATIENCE_S)

    def ended(self, run: str, outcome: str) -> None:
        """Return when the run has ended, and so."""
        assert self.client.completed(run, _PATIENCE_S)["outcome"] == outcome

    def failures(self, query: str) -> list[Json]:
        return self.client.get(f"/v1/failures?{query}").body["failures"]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("dossier"))
    with world.deployment:
        world.start()
        yield world


@pytest.fixture
def world(running: World) -> Iterator[World]:
    """One Dossier for all tests here; each finds it well."""
    running.trouble()
    running.deployment.start()
    yield running
    print(running.deployment.said()[-8_000:])


def test_a_task_that_kills_its_worker_five_times_is_abandoned_listed_explained_and_done_over(world: World):
    client, planner = world.client, world.deployment.services["plan"]
    client.hand_out_again_after("plan", 0.5)
    world.trouble(dies=["plan"])
    run = world.ask("Why?", approval="auto")
    for _ in range(DELIVERIES - 1):
        wait_until(lambda: not planner.running, _PATIENCE_S)
        assert "no planner is asking for work" in world.until_why(run, "working", "plan")["text"]
        planner.start()
    world.ended(run, "failed")
    [one] = wait_until(lambda: world.failures(f"run={run}"))
    assert (one["kind"], one["error"]["code"], one["input"]["q"]) == ("plan", "abandoned", "Why?")
    assert world.why(run)["code"] == "ended"
    world.trouble()
    forked = client.post(f"/v1/runs/{run}/fork").body
    assert forked["from"] == "plan"
    world.ended(forked["run_id"], "reported")
    assert world.performed("Why?")["plan"] == DELIVERIES


def test_why_says_in_each_stage_whose_turn_it_is(world: World):
    services = world.deployment.services
    stages = {"plan": "planner", "fetch": "fetcher", "synthesize": "synthesizer"}
    for kind in stages:
        services[kind].kill()
    run = world.ask("Why?")
    for kind, worker in stages.items():
        said = world.until_why(run, "worker", kind)
        assert f"no {worker} is asking for work" in said["text"]
        services[kind].start()
        if kind == "fetch":
            said = world.until_why(run, "person")
            assert said["deadline"]
            assert said["may_decide"] in said["text"]
            world.client.approve(run)
    world.ended(run, "reported")
    assert world.until_why(run, "ended")["text"].startswith("For nothing: it ended")


def test_only_what_failed_is_performed_again_in_a_fork(world: World):
    world.trouble(fails=["synthesize"])
    run = world.ask("How so?", approval="auto")
    world.ended(run, "failed")
    assert world.performed("How so?") == {"plan": 1, "fetch": 4, "synthesize": 1}
    world.trouble()
    forked = world.client.post(f"/v1/runs/{run}/fork").body
    assert (forked["from"], forked["reused"]) == ("synthesize", 5)
    world.client.until(forked["run_id"], "hold")
    world.client.approve(forked["run_id"])
    world.ended(forked["run_id"], "reported")
    assert world.performed("How so?") == {"plan": 1, "fetch": 4, "synthesize": 2}
    copies = world.client.counts(f"research.run.{forked['run_id']}.task.>")
    assert set(copies) == {f"research.run.{forked['run_id']}.task.synthesize.1.0.1"}


def test_many_failed_runs_are_done_over_with_one_call_and_none_twice(world: World):
    world.trouble(fails=["plan"])
    runs = [world.ask(f"Question {n}?", run_id=f"old-{n}", approval="auto") for n in range(MANY)]
    for run in runs:
        world.ended(run, "failed")
    wanted = {"status": ["failed"], "code": "stub", "text": "old-"}
    dry = wait_until(lambda: _of_all(world.client.post("/v1/forks", wanted | {"dry_run": True}).body["forks"]))
    assert {one["run_id"] for one in dry} == set(runs)
    assert {one["result"] for one in dry} == {"would_fork"}
    world.trouble()
    forked = world.client.post("/v1/forks", wanted, {"Idempotency-Key": "mended"}).body["forks"]
    again = world.client.post("/v1/forks", wanted, {"Idempotency-Key": "mended"}).body["forks"]
    assert {one["fork_id"] for one in forked} == {one["fork_id"] for one in again}
    for one in forked:
        world.ended(one["fork_id"], "reported")
    assert len([run for run in _runs(world) if (run["fork"] or {}).get("run_id") in runs]) == MANY
    assert set(world.client.counts("research.run.>").values()) == {1}


def _runs(world: World) -> list[Json]:
    listed = world.client.get("/v1/runs?limit=200").body["runs"]
    return [world.client.get(f"/v1/runs/{one['run_id']}").body for one in listed]


def _of_all(rows: list[Json]) -> list[Json] | None:
    return rows if len(rows) == MANY else None
