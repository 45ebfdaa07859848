"""NATS has no room: nothing new is begun, everybody says why, and all goes on by itself when there is room."""

import json
import resource
import time
from collections.abc import Callable
from pathlib import Path

from tests.harness import http
from tests.harness.deployment import Deployment
from tests.harness.waiting import wait_until, wait_until_equal

Alone = Callable[..., Deployment]

LONGER_THAN_A_TASK_S = 1.0


def readiness(deployment: Deployment) -> dict[str, int | None]:
    """What every service answers to `/readyz`."""
    return {name: service.probe("readyz") for name, service in deployment.services.items()}


def not_ready(deployment: Deployment) -> list[str]:
    """The services that say that they cannot work."""
    return [name for name, status in readiness(deployment).items() if status == 503]


def why(deployment: Deployment, service: str) -> str:
    """What a service says of itself on `/readyz`."""
    return http.ask(deployment.services[service].port, "GET", "/readyz").body


def asked(deployment: Deployment) -> http.Answer:
    """The answer to a question asked over HTTP."""
    return http.ask(
        deployment.coordinator.port,
        "POST",
        "/v1/runs",
        {"q": "What?", "approval": "auto"},
        headers=http.key(deployment.coordinator.data),
    )


def performed(deployment: Deployment) -> list[tuple[str, str]]:
    """What the stubs have begun, by kind and question."""
    journal = deployment.folder / "journal"
    journal.touch()
    lines = journal.read_text().splitlines()
    return [(line["kind"], line["about"]) for line in map(json.loads, lines)]


def test_a_full_log_takes_no_new_work_says_so_and_goes_on_by_itself(alone: Alone, tmp_path: Path):
    deployment = alone(settings={"STUB_JOURNAL": str(tmp_path / "journal"), "STUB_DELAY_MS": "300"})
    deployment.start()
    client = deployment.client()
    held = client.request("held")
    client.until(held, "hold")
    runs = [client.request(f"question {n}", approval="auto") for n in range(8)]
    wait_until(lambda: {kind for kind, q in performed(deployment) if q != "held"} == {"plan", "fetch"})
    client.limit("RESEARCH", client.size("RESEARCH") + 10)
    answer = asked(deployment)
    assert (answer.status, answer.body["code"]) == (507, "log_full")
    assert "max_bytes" in answer.body["detail"]
    wait_until_equal(lambda: readiness(deployment)["coordinator"], 503)
    assert "RESEARCH" in why(deployment, "coordinator")
    assert "max_bytes" in why(deployment, "coordinator")
    decided = client.approve(held)
    assert (decided.status, decided.body["code"]) == (507, "log_full")
    stuck = wait_until(lambda: len(found := not_ready(deployment)) > 1 and found)
    begun = performed(deployment)
    time.sleep(LONGER_THAN_A_TASK_S)
    assert performed(deployment) == begun
    client.limit("RESEARCH", -1)
    wait_until_equal(lambda: set(readiness(deployment).values()), {200})
    assert client.approve(held).status == 200
    for run in (held, *runs):
        assert client.completed(run)["outcome"] == "reported"
    done = performed(deployment)
    assert len(done) == len(set(done)) == 9 * 6, "Something was performed again."
    assert len(done) > len(begun)
    for name in stuck:
        said = deployment.services[name].said()
        assert said.count("NATS has no room in RESEARCH") == said.count("takes writes to RESEARCH again") == 1, said


def test_a_full_evidence_store_is_waited_for_in_the_same_way(alone: Alone, tmp_path: Path):
    deployment = alone(settings={"STUB_JOURNAL": str(tmp_path / "journal")})
    deployment.start()
    client = deployment.client()
    client.until(client.request("held"), "hold")
    client.limit("EVIDENCE", client.size("EVIDENCE") + 10)
    runs = [client.request(f"question {n}", approval="auto") for n in range(3)]
    wait_until(lambda: not_ready(deployment) == ["fetch"])
    assert "EVIDENCE" in why(deployment, "fetch")
    assert (
        http.ask(
            deployment.coordinator.port,
            "POST",
            f"/v1/runs/{runs[0]}/cancel",
            headers=http.key(deployment.coordinator.data),
        ).status
        == 200
    )
    client.limit("EVIDENCE", -1)
    for run in runs[1:]:
        assert client.completed(run)["outcome"] == "reported"
    assert client.completed(runs[0])["outcome"] == "cancelled"
    wait_until_equal(lambda: set(readiness(deployment).values()), {200})


def test_a_server_that_can_write_nothing_to_its_disk_is_said_to_be_so_and_goes_on_once_restarted(
    alone: Alone, tmp_path: Path
):
    """It answers no write then, and none after there is room either, until it is started again."""
    deployment = alone(settings={"STUB_JOURNAL": str(tmp_path / "journal"), "STUB_DELAY_MS": "300"})
    deployment.start()
    client = deployment.client()
    runs = [client.request(f"question {n}", approval="auto") for n in range(4)]
    wait_until(lambda: "fetch" in {kind for kind, _ in performed(deployment)})
    unlimited = resource.prlimit(deployment.server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(deployment.server.pid, resource.RLIMIT_FSIZE, (1, unlimited[1]))
    wait_until(lambda: {"coordinator", "fetch"} & set(not_ready(deployment)))
    [stuck, *_] = not_ready(deployment)
    assert "restart nats-server" in why(deployment, stuck)
    deployment.server.kill()
    deployment.server.start()
    for run in runs:
        assert client.completed(run)["outcome"] == "reported"
    wait_until_equal(lambda: set(readiness(deployment).values()), {200})
    done = performed(deployment)
    assert len(done) == len(set(done)) == 4 * 6, "Something was performed again."
