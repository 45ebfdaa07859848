"""NATS comes late, goes and comes back; services are told to stop. Nothing is lost and nothing hangs."""

import time
from collections.abc import Callable

import pytest

from shared.contracts.topology import ACK_WAIT_S
from tests.harness import http
from tests.harness.client import Json
from tests.harness.deployment import Deployment
from tests.harness.waiting import wait_until, wait_until_equal

Alone = Callable[..., Deployment]

GONE_S = 2.0
STOPS_WITHIN_S = 20.0


def probes(deployment: Deployment, probe: str) -> dict[str, int | None]:
    """What every service answers to a probe."""
    return {name: service.probe(probe) for name, service in deployment.services.items()}


def all_say(deployment: Deployment, status: int) -> dict[str, int | None]:
    """The same answer from every service."""
    return dict.fromkeys(deployment.services, status)


def all_are_up(deployment: Deployment) -> bool:
    """Whether every service is past its start, ready or not."""
    return all(service.can_be_asked_to_stop() for service in deployment.services.values())


def test_services_started_before_nats_wait_for_it_and_say_so(alone: Alone):
    deployment = alone()
    deployment.start_services()
    wait_until_equal(lambda: probes(deployment, "livez"), all_say(deployment, 200))
    assert probes(deployment, "readyz") == all_say(deployment, 503)


def test_services_started_before_nats_go_on_when_it_comes(alone: Alone):
    deployment = alone()
    deployment.start_services()
    wait_until(lambda: all_are_up(deployment))
    deployment.server.start()
    deployment.wait_until_ready()
    client = deployment.client()
    assert client.completed(client.request(approval="auto"))["outcome"] == "reported"


def test_nothing_is_lost_when_nats_is_gone_for_seconds(alone: Alone):
    deployment = alone(settings={"STUB_DELAY_MS": "50"})
    deployment.start()
    client = deployment.client()
    held = client.request()
    client.until(held, "hold")
    working = [client.request(approval="auto") for _ in range(30)]
    deployment.server.kill()
    wait_until_equal(lambda: probes(deployment, "readyz"), all_say(deployment, 503))
    assert probes(deployment, "livez") == all_say(deployment, 200)
    time.sleep(GONE_S)
    deployment.server.start()
    deployment.wait_until_ready()
    wait_until(lambda: client.connected)
    assert client.approve(held).status == 200
    completions: list[Json] = []
    # What the server handed out and had not heard of since comes again after `ACK_WAIT_S`.
    wait_until(lambda: completions.extend(client.take("late")) or len(completions) > len(working), 2 * ACK_WAIT_S)
    assert sorted(one["run_id"] for one in completions) == sorted([held, *working])
    assert {one["outcome"] for one in completions} == {"reported"}
    assert set(client.counts("research.run.>").values()) == {1}


def test_whoever_asks_over_http_while_nats_is_gone_is_told_so_in_seconds(alone: Alone):
    deployment = alone(workers=())
    deployment.start()
    deployment.server.kill()
    wait_until(lambda: deployment.coordinator.probe("readyz") == 503)
    key = http.key(deployment.coordinator.data)
    answer = http.ask(deployment.coordinator.port, "POST", "/v1/runs", {"q": "What does the fox do?"}, key)
    assert (answer.status, answer.body["code"]) == (503, "nats_unavailable")
    assert answer.body["run_id"] in answer.body["detail"]


@pytest.mark.parametrize("nats", ["there", "gone", "never-there"])
def test_services_that_are_told_to_stop_end_cleanly_within_seconds(alone: Alone, nats: str):
    deployment = alone()
    if nats == "never-there":
        deployment.start_services()
        wait_until(lambda: all_are_up(deployment))
    else:
        deployment.start()
    if nats == "gone":
        deployment.server.kill()
        wait_until_equal(lambda: probes(deployment, "readyz"), all_say(deployment, 503))
    assert deployment.stop_services(within_s=STOPS_WITHIN_S) == all_say(deployment, 0)
