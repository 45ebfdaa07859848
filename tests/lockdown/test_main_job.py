"""A whole run, from the request to the notification of its end, by processes with restricted users."""

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client

from tests.harness import http
from tests.harness.locked import ROLES, Locked, dossier, run_dossier
from tests.harness.receiver import Receiver
from tests.harness.waiting import PATIENCE_S, wait_until

Json = dict[str, Any]
WEBHOOKS = """\
allow = ["127.0.0.1"]

[endpoints.team]
kind = "slack"
url = "{url}"
events = ["hold.opened"]
"""


@pytest.fixture(params=[1, 3], ids=["one-node", "three-nodes"])
def locked(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Locked]:
    with Locked(tmp_path, request.param) as locked:
        yield locked
        print(locked.told())


@asynccontextmanager
async def connected(locked: Locked, user: str) -> AsyncGenerator[Client]:
    """A connection of plain nats-py, as an outside client uses it."""
    refused: list[str] = []

    async def hear(error: Exception) -> None:
        refused.append(str(error))

    client = await nats.connect(**locked.options(user), error_cb=hear)
    try:
        yield client
    finally:
        await client.close()
        assert not refused


def call(locked: Locked, method: str, path: str, body: Json | None = None, key: str = "") -> Any:
    """The answer of the API to the token of the coordinator's folder, or to a key."""
    service = locked.services["coordinator"]
    headers = {"Authorization": f"Bearer {key}"} if key else http.key(service.data)
    answer = http.ask(service.port, method, path, body, headers)
    assert answer.status < 300, answer
    return answer.body


def standing(locked: Locked, run: str) -> str | None:
    """The status of the run; `None` until the API knows it."""
    service = locked.services["coordinator"]
    answer = http.ask(service.port, "GET", f"/v1/runs/{run}", headers=http.key(service.data))
    return answer.body["status"] if answer.status == 200 else None


def consumers_are_made(locked: Locked, webhooks: Path) -> bool:
    """Create the notifier's consumers as the operator. Return False until the coordinator has created the streams."""
    operator = locked.settings("operator")
    done = run_dossier("nats", "consumers", "--webhooks", str(webhooks), settings=operator)
    assert done.returncode == 0 or "has set up the streams yet" in done.stderr, done.stderr
    return done.returncode == 0


def over_http(locked: Locked) -> None:
    """Read and write by the API with a key of the operator."""
    made = dossier("keys", "create", "ada", "--role", "operator", settings=locked.settings("operator"))
    key = made.stdout.strip()
    run = call(locked, "POST", "/v1/runs", {"q": "What is an iterator?"}, key)["run_id"]
    wait_until(lambda: standing(locked, run) == "hold")
    call(locked, "POST", f"/v1/runs/{run}/approvals", {"decision": "approve"}, key)
    wait_until(lambda: standing(locked, run) == "reported")
    assert "[1]" in call(locked, "GET", f"/v1/runs/{run}/report", key=key)
    assert call(locked, "GET", f"/v1/runs/{run}/events", key=key)
    assert "deliveries" in call(locked, "GET", f"/v1/deliveries?run_id={run}", key=key)
    again = call(locked, "POST", f"/v1/runs/{run}/fork", {"from": "synthesize"}, key)["run_id"]
    wait_until(lambda: standing(locked, again) == "hold")
    assert call(locked, "GET", f"/v1/runs/{again}/why", key=key)
    call(locked, "POST", f"/v1/runs/{again}/cancel", {}, key)
    wait_until(lambda: standing(locked, again) == "cancelled")
    assert call(locked, "GET", "/v1/failures", key=key)["failures"] == []
    url = f"http://127.0.0.1:{locked.services['coordinator'].port}"
    person = locked.settings("subscriber") | {"DOSSIER_API_KEY": key, "DOSSIER_API_URL": url}
    assert "[1]" in dossier("ask", "What is a decorator?", "--yes", settings=person).stdout


def test_a_request_is_planned_searched_held_approved_written_and_told_of(locked: Locked, tmp_path: Path):
    with Receiver() as team:
        file = tmp_path / "webhooks.toml"
        file.write_text(WEBHOOKS.format(url=team.url))
        locked.start(ROLES, {"DOSSIER_GRACE_S": "1"})
        wait_until(lambda: consumers_are_made(locked, file))
        locked.start(["notifier"], {"DOSSIER_WEBHOOKS": str(file)})
        ended = asyncio.run(job(locked))
        if len(locked.nodes) == 1:
            over_http(locked)
        assert (ended["outcome"], ended["ok"]) == ("reported", True)
        assert "[1]" in ended["report"]
        held = team.wait_for(1)[0]
        assert "Evidence waits for a decision" in held.body.decode()
    for service in locked.services.values():
        assert "refused" not in service.said().lower(), service.said()


async def job(locked: Locked) -> Json:
    """Ask as the requester and approve as the approver. Return the message that the subscriber receives."""
    async with (
        connected(locked, "requester") as requester,
        connected(locked, "approver") as approver,
        connected(locked, "subscriber") as subscriber,
    ):
        completed = await subscriber.subscribe("research.completed")
        await subscriber.flush()
        question = json.dumps({"q": "What is a context manager?"}).encode()
        ack = await requester.jetstream().publish("research.requested", question)
        run = f"r{ack.seq}"
        await asyncio.to_thread(wait_until, lambda: standing(locked, run) == "hold")
        decision = json.dumps({"run_id": run, "by": "ada"}).encode()
        await approver.jetstream().publish("research.approved", decision)
        heard = json.loads((await completed.next_msg(timeout=PATIENCE_S)).data)["data"]
        assert heard["run_id"] == run
        assert await missed(subscriber) == [heard]
        return heard


async def missed(subscriber: Client) -> list[Json]:
    """The messages that the durable consumer kept for the subscriber."""
    order = await subscriber.jetstream().pull_subscribe_bind("subscriber", stream="COMPLETIONS")
    messages = await order.fetch(1, timeout=PATIENCE_S)
    for message in messages:
        await message.ack_sync()
    return [json.loads(message.data)["data"] for message in messages]
