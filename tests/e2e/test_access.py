"""Keys, sessions, four eyes and a quorum with a real server, two coordinators and the real command."""

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.parse import urlencode

from shared.contracts.subjects import ACCESS
from shared.nats.connection import Connection
from shared.nats.jetstream import JetStreamLog
from tests.access.entry import created
from tests.cli.terminals import Dossier
from tests.harness import http
from tests.harness.client import Client
from tests.harness.deployment import Deployment, Service
from tests.harness.http import Answer
from tests.harness.ports import free_port
from tests.harness.waiting import PATIENCE_S, wait_until

Alone = Callable[..., Deployment]
TWO_COORDINATORS = ("plan", "fetch", "synthesize", "coordinator")
PEOPLE = {"DOSSIER_FOUR_EYES": "true", "DOSSIER_QUORUM": "2"}
REVOKED_WITHIN_S = 10.0


def typed(deployment: Deployment, *arguments: str) -> str:
    """What a command puts out."""
    done = Dossier(deployment.folder / "typed", DOSSIER_NATS_URL=deployment.server.url)(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def key(deployment: Deployment, name: str, role: str = "approver") -> str:
    made = typed(deployment, "keys", "create", name, "--role", role)
    assert re.fullmatch(r"dsr_[0-9a-f]{12}_[0-9a-f]{72}", made)
    return made


def more_keys(deployment: Deployment, *names: str) -> list[str]:
    """Keys of more approvers, made as the command does, in a moment."""

    async def make() -> list[str]:
        access = JetStreamLog(await Connection.open([deployment.server.url], name="test"), ACCESS)
        made = [await created(access, name, "approver") for name in names]
        await access.close()
        return made

    return asyncio.run(make())


def shown(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def approve(service: Service, run: str, key: str) -> Answer:
    return http.ask(service.port, "POST", f"/v1/runs/{run}/approvals", {"decision": "approve"}, shown(key))


def lists(service: Service, headers: dict[str, str]) -> int:
    return http.ask(service.port, "GET", "/v1/runs", headers=headers).status


def asked(service: Service, client: Client, key: str) -> str:
    """A run that this key asked for, on hold."""
    answer = http.ask(service.port, "POST", "/v1/runs", {"q": "What does the fox do?"}, shown(key))
    assert answer.status == 202, answer.body
    client.until(answer.body["run_id"], "hold")
    return answer.body["run_id"]


def signed_in(service: Service, key: str) -> dict[str, str]:
    """The cookie of a new session."""
    link = HTTPConnection("127.0.0.1", service.port, timeout=PATIENCE_S)
    link.request("POST", "/sign-in", urlencode({"key": key}), {"Content-Type": "application/x-www-form-urlencoded"})
    answer = link.getresponse()
    link.close()
    assert answer.status == 303
    return {"Cookie": (answer.getheader("Set-Cookie") or "").partition(";")[0]}


@contextmanager
def listening(service: Service, run: str, key: str) -> Iterator[HTTPResponse]:
    """The events of a run as they come."""
    with closing(HTTPConnection("127.0.0.1", service.port, timeout=PATIENCE_S)) as link:
        link.request("GET", f"/v1/runs/{run}/events", headers=shown(key) | {"Accept": "text/event-stream"})
        yield link.getresponse()


def test_people_with_keys_decide_together_and_a_revoked_one_no_more(alone: Alone):
    deployment = alone(workers=TWO_COORDINATORS, settings=PEOPLE)
    deployment.start()
    client = deployment.client()
    one, two = deployment.coordinator, deployment.services["coordinator-2"]
    ann, (bob, cleo) = key(deployment, "ann"), more_keys(deployment, "bob", "cleo")

    run = asked(one, client, ann)
    assert approve(one, run, ann).body["code"] == "four_eyes"
    assert client.approve(run).body["code"] == "unidentified"
    assert approve(one, run, bob).body["status"] == "hold"
    assert approve(two, run, bob).body["code"] == "voted"
    assert approve(two, run, cleo).status == 200
    assert client.completed(run)["outcome"] == "reported"
    decision = client.fact(run, "decision.1")
    assert (decision["via"], decision["voters"]) == ("quorum", ["bob", "cleo"])
    accepted = client.fact(run, "accepted")
    assert (accepted["requested_by"], accepted["auth"]) == ("ann", f"key:{ann.split('_')[1]}")

    session = signed_in(one, bob)
    assert [lists(service, session) for service in (one, two)] == [200, 200]
    one.kill()
    one.start()
    one.wait_until_ready()
    assert lists(one, session) == 200

    held = asked(one, client, ann)
    with listening(two, held, bob) as events:
        while b"hold.opened.v1" not in events.readline():
            pass
        typed(deployment, "keys", "revoke", bob.split("_")[1])
        began = time.monotonic()
        everywhere = [(service, by) for service in (one, two) for by in (shown(bob), session)]
        wait_until(lambda: all(lists(service, by) == 401 for service, by in everywhere))
        assert time.monotonic() - began < REVOKED_WITHIN_S
        assert client.decide(held, "reject").status == 200
        client.completed(held)
        assert b"decision" not in events.read()
    states = {row["name"]: row["state"] for row in json.loads(typed(deployment, "keys", "list", "--json"))}
    assert states == {"ann": "usable", "bob": "revoked", "cleo": "usable"}


def test_where_others_reach_the_api_it_does_not_start_before_somebody_has_a_key(alone: Alone, tmp_path: Path):
    deployment = alone(workers=())
    deployment.server.start()
    settings = {
        "DOSSIER_NATS_URL": deployment.server.url,
        "DOSSIER_DATA": str(tmp_path / "open"),
        "DOSSIER_API_HOST": "0.0.0.0",
        "DOSSIER_HOSTS": "dossier.example",
    }
    service = Service("coordinator", "open", folder=tmp_path, settings=settings)
    service.start()
    assert service.exit_code(within_s=PATIENCE_S) == 1
    assert "dossier keys create" in service.said()
    made = key(deployment, "ann", "operator")
    service.start()
    service.wait_until_ready()
    assert not (tmp_path / "open" / "token").exists()
    assert lists(service, {}) == 401
    assert lists(service, shown(made) | {"Host": "dossier.example"}) == 200
    assert lists(service, shown(made) | {"Host": "evil.example"}) == 421
    service.kill()


def test_what_a_proxy_says_is_believed_of_proxies_alone(alone: Alone, tmp_path: Path):
    deployment = alone(workers=())
    deployment.server.start()
    plain = {"DOSSIER_NATS_URL": deployment.server.url, "DOSSIER_DATA": str(tmp_path / "proxied")}
    forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.1"}
    for trusted, prefix in (({}, "dossier="), ({"DOSSIER_TRUSTED_PROXIES": "127.0.0.1"}, "__Host-dossier=")):
        service = Service("coordinator", f"proxied-{free_port()}", folder=tmp_path, settings=plain | trusted)
        service.start()
        service.wait_until_ready()
        token = (tmp_path / "proxied" / "token").read_text().strip()
        link = HTTPConnection("127.0.0.1", service.port, timeout=PATIENCE_S)
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        link.request("POST", "/sign-in", urlencode({"key": token}), form | forwarded)
        assert (link.getresponse().getheader("Set-Cookie") or "").startswith(prefix)
        link.close()
        service.kill()
