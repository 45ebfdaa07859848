"""Others are told, by a process of its own, over NATS and HTTP as they are: also when it is killed in the middle."""

import asyncio
import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from standardwebhooks.webhooks import Webhook

from shared.contracts.deliveries import DELIVERIES
from shared.contracts.topology import Limits
from shared.nats import delivery_consumers, topology
from shared.nats.connection import Connection
from tests.harness.client import Client, Json
from tests.harness.deployment import STUB_WORKERS, Deployment
from tests.harness.receiver import Got, Receiver, Reply
from tests.harness.waiting import PATIENCE_S, wait_until

KEY = b"the-key-that-nobody-may-see-here"
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
TOKEN = "secret-in-the-url"
FILE = """\
allow = ["127.0.0.1"]

[endpoints.ops]
url_env = "OPS_URL"
secret_env = "OPS_SECRET"

[endpoints.team]
kind = "slack"
url_env = "TEAM_URL"
events = ["hold.opened"]
"""


class World(NamedTuple):
    """Dossier and those that it tells."""

    deployment: Deployment
    ops: Receiver
    team: Receiver


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("dossier")
    (folder / "webhooks.toml").write_text(FILE)
    with Receiver() as ops, Receiver() as team:
        settings = {
            "DOSSIER_WEBHOOKS": str(folder / "webhooks.toml"),
            "DOSSIER_PUBLIC_URL": "https://dossier.example.com/",
            "DOSSIER_LOG_LEVEL": "DEBUG",
            "OPS_URL": ops.url,
            "OPS_SECRET": SECRET,
            "TEAM_URL": team.url,
        }
        with Deployment(folder, workers=(*STUB_WORKERS, "notifier"), settings=settings) as deployment:
            deployment.server.start()
            asyncio.run(hand_over_soon(deployment.server.url))
            deployment.start()
            yield World(deployment, ops, team)


async def hand_over_soon(url: str) -> None:
    """Set up what a notifier finds, so that what one left undone is handed to the next after a second."""
    link = await Connection.open([url], name="test")
    await topology.ensure_topology(link, Limits())
    config = delivery_consumers.endpoint_config("ops") | {"ack_wait": 1_000_000_000}
    call = f"CONSUMER.DURABLE.CREATE.{DELIVERIES}.{config['durable_name']}"
    await topology.request_api(link, call, {"stream_name": DELIVERIES, "config": config})
    await link.close()


@pytest.fixture
def client(world: World) -> Iterator[Client]:
    world.ops.got.clear()
    world.team.got.clear()
    yield world.deployment.client()
    print(world.deployment.said()[-8_000:])


def deliveries(client: Client, query: str) -> list[Json]:
    return client.get(f"/v1/deliveries?{query}").body["deliveries"]


def verified(got: Got) -> Json:
    return Webhook(SECRET).verify(got.body, dict(got.headers))


def test_a_hold_and_an_end_are_told_to_whoever_wants_to_know(world: World, client: Client):
    run = client.request("Does <the fox> & the dog @channel?")
    client.until(run, "hold")
    [held] = world.ops.wait_for(1)
    event = verified(held)
    assert (event["type"], event["url"]) == ("hold.opened", f"https://dossier.example.com/runs/{run}")
    assert event["data"]["digest"] == client.get(f"/v1/runs/{run}").body["digest"]
    [slack] = [json.loads(got.body) for got in world.team.wait_for(1)]
    assert slack["text"] == "Evidence waits for a decision: Does &lt;the fox&gt; &amp; the dog @channel?"
    assert f"<https://dossier.example.com/runs/{run}|Open the run>" in json.dumps(slack)
    client.approve(run)
    ended = verified(world.ops.wait_for(2)[1])
    assert (ended["type"], ended["data"]["run_id"], ended["data"]["outcome"]) == ("run.ended", run, "reported")
    wait_until(lambda: [each["state"] for each in deliveries(client, f"run_id={run}&event=run.ended")] == ["delivered"])


def test_a_notifier_killed_between_sending_and_recording_sends_again_under_the_same_id(world: World, client: Client):
    notifier = world.deployment.services["notifier"]
    world.ops.replies.append(Reply(after_s=30))
    run = client.request(approval="auto")
    [first] = world.ops.wait_for(1)
    notifier.kill()
    assert not deliveries(client, f"run_id={run}&event=run.ended")[0]["attempts"]
    notifier.start()
    first, again = world.ops.wait_for(2)
    assert first.headers["webhook-id"] == again.headers["webhook-id"] == f"{run}-ended"
    assert first.body == again.body
    assert verified(again)["data"]["run_id"] == run
    wait_until(lambda: deliveries(client, f"run_id={run}&event=run.ended")[0]["state"] == "delivered")


def test_what_happens_while_no_notifier_runs_is_told_by_the_next(world: World, client: Client):
    notifier = world.deployment.services["notifier"]
    notifier.ask_to_stop()
    assert notifier.exit_code(within_s=PATIENCE_S) == 0
    run = client.request(approval="auto")
    client.completed(run)
    notifier.start()
    [got] = world.ops.wait_for(1)
    assert verified(got)["data"]["run_id"] == run


def test_a_retry_survives_a_crash_of_nats_and_of_the_notifier(world: World, client: Client):
    world.ops.replies.append(Reply(500))
    run = client.request(approval="auto")
    world.ops.wait_for(1)
    wait_until(lambda: deliveries(client, f"state=retrying&run_id={run}"))
    world.deployment.server.kill()
    world.deployment.services["notifier"].kill()
    world.deployment.server.start()
    world.deployment.services["notifier"].start()
    first, again = world.ops.wait_for(2)
    assert first.headers["webhook-id"] == again.headers["webhook-id"] == f"{run}-ended"
    wait_until(lambda: client.connected)
    wait_until(lambda: [each["state"] for each in deliveries(client, f"run_id={run}")] == ["delivered"])


def test_a_failure_shows_and_is_made_good_by_hand(world: World, client: Client):
    world.ops.replies.append(Reply(302, {"Location": "/elsewhere"}))
    run = client.request(approval="auto")
    world.ops.wait_for(1)
    [failed] = wait_until(lambda: deliveries(client, f"state=retrying&run_id={run}"))
    assert failed["attempts"][0]["status"] == 302
    assert "redirects are not followed" in failed["attempts"][0]["error"]
    answer = client.post(f"/v1/deliveries/{failed['delivery_id']}/resend", {"by": "ann"})
    assert (answer.status, answer.body["asks"]) == (202, 2)
    first, again = world.ops.wait_for(2)
    assert (first.headers["webhook-id"], again.headers["webhook-id"]) == (f"{run}-ended",) * 2
    wait_until(lambda: deliveries(client, f"run_id={run}")[0]["state"] == "delivered")


def test_no_secret_is_in_what_any_process_says_or_stores(world: World, client: Client):
    world.ops.replies.append(Reply(500))
    run = client.request(approval="auto")
    wait_until(lambda: deliveries(client, f"state=retrying&run_id={run}"))
    said = world.deployment.said()
    assert f"ops.{run}.ended attempt 1" in said
    stored = b"".join(path.read_bytes() for path in Path(world.deployment.folder).rglob("*.blk"))
    assert re.search(rb"delivery\.tried\.v1", stored)
    for secret in (TOKEN, SECRET, KEY.decode()):
        assert secret not in said
        assert secret.encode() not in stored
