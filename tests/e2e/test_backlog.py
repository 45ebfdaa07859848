"""Whatever has piled up while nobody was there is worked off: nothing is lost, and memory stays in bounds."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime

import pytest

from shared.runtime import clock
from tests.bench.meter import peak_rss_mb
from tests.harness.client import Client, Json
from tests.harness.deployment import STUB_WORKERS, Deployment
from tests.harness.environment import number
from tests.harness.waiting import PATIENCE_S, wait_until

Alone = Callable[..., Deployment]

QUEUED = number("E2E_QUEUED", 1_000)
HELD = 100
MANY = {"DOSSIER_MODEL_LIMIT": "100", "DOSSIER_FETCH_LIMIT": "200"}


def ended(client: Client, durable: str, count: int) -> Counter[str]:
    """How so many runs ended, as soon as they have, by outcome; each of them once."""
    completions: list[Json] = []
    wait_until(lambda: completions.extend(client.take(durable)) or len(completions) >= count, PATIENCE_S + QUEUED / 15)
    assert len({one["run_id"] for one in completions}) == len(completions) == count
    return Counter(one["outcome"] for one in completions)


def no_services(deployment: Deployment) -> None:
    """NATS alone is left."""
    for service in deployment.services.values():
        service.kill()


@pytest.mark.parametrize("coordinators", [1, 2])
def test_requests_that_queued_up_are_all_answered(alone: Alone, coordinators: int):
    deployment = alone(workers=("coordinator",) * (coordinators - 1) + STUB_WORKERS, settings=MANY)
    deployment.start()
    client = deployment.client()
    no_services(deployment)
    requests = [{"q": "Why?", "run_id": f"q{n}", "approval": "auto"} for n in range(QUEUED)]
    client.publish_all("research.requested", requests)
    deployment.start_services()
    assert ended(client, "queue", QUEUED) == {"reported": QUEUED}
    assert set(client.counts("research.run.>").values()) == {1}
    for name, service in deployment.services.items():
        assert peak_rss_mb([service.pid]) < 200, name


def test_decisions_and_deadlines_that_passed_meanwhile_are_each_judged_by_their_own_time(alone: Alone):
    deployment = alone(settings=MANY)
    deployment.start()
    client = deployment.client()
    for n in range(HELD):
        client.request(run_id=f"h{n}", approval_timeout="10s")
    for n in range(HELD):
        client.until(f"h{n}", "hold")
    no_services(deployment)
    client.publish_all("research.approved", ({"run_id": f"h{n}", "by": "in time"} for n in range(0, HELD, 2)))
    deadlines = [datetime.fromisoformat(client.fact(f"h{n}", "hold.1")["deadline"]) for n in range(HELD)]
    wait_until(lambda: clock.now() > max(deadlines))
    client.publish_all("research.approved", ({"run_id": f"h{n}", "by": "late"} for n in range(HELD)))
    deployment.start_services()
    assert ended(client, "held", HELD) == {"reported": HELD // 2, "expired": HELD // 2}
    assert client.fact("h0", "decision.1")["by"] == "in time"
    refused = wait_until(lambda: len(found := client.counts("research.invalid.>")) == HELD and found)
    assert set(refused.values()) == {1}
