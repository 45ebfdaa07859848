"""NATS comes back on an older copy of its store. What is asked from then on runs, and no id is given twice."""

import json
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.harness import http
from tests.harness.client import Client
from tests.harness.deployment import Deployment, Service
from tests.harness.waiting import wait_until

Alone = Callable[..., Deployment]

REASON = "The log in NATS is not the one that was read"


class Store:
    """The server's store, a copy of it, and the way back to that copy."""

    def __init__(self, deployment: Deployment) -> None:
        self._server = deployment.server
        self._copy = deployment.folder / "copy"
        shutil.copytree(self._server.store, self._copy)

    def set_back(self) -> None:
        """Stop the server and put the copy in the place of its store."""
        self._server.kill()
        shutil.rmtree(self._server.store)
        shutil.copytree(self._copy, self._server.store)


class Asked:
    """Requests without an id of their own: the sequence of each, and the question that it asked."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._questions: dict[int, str] = {}

    def ask(self, count: int, about: str) -> None:
        """Publish so many requests, each with a question of its own."""
        for number in range(count):
            question = f"What does {about} {number} do?"
            seq = self._client.publish("research.requested", {"q": question, "approval": "auto"})
            self._questions[seq] = question

    @property
    def last(self) -> int:
        """The sequence of the newest request."""
        return max(self._questions)

    def runs(self) -> dict[int, str]:
        """The run of each request that was accepted, as the log has it."""
        accepted = [fact for fact in facts(self._client, "research.run.*.accepted") if fact["q"] in self.questions]
        assert max(Counter(fact["q"] for fact in accepted).values(), default=0) <= 1
        return {fact["request_seq"]: fact["run"] for fact in accepted}

    @property
    def questions(self) -> frozenset[str]:
        """Every question."""
        return frozenset(self._questions.values())

    def ended(self) -> dict[int, str]:
        """The run of each request, as soon as every one is reported."""
        wait_until(lambda: len(self.runs()) == len(self._questions))
        runs = self.runs()
        assert runs.keys() == self._questions.keys()
        wait_until(lambda: set(runs.values()) <= reported(self._client))
        return runs


def facts(client: Client, pattern: str) -> list[dict[str, Any]]:
    """The data of every fact under a pattern, each with its `run`."""
    events = [json.loads(data) for data in client.messages(pattern)]
    return [event["data"] | {"run": event["subject"]} for event in events]


def reported(client: Client) -> set[str]:
    """The runs that ended with a report."""
    return {fact["run"] for fact in facts(client, "research.run.*.completed") if fact["outcome"] == "reported"}


@contextmanager
def listening(service: Service) -> Iterator[list[str]]:
    """Everything that `/readyz` answers but ok, each answer once."""
    heard: list[str] = []
    stop = threading.Event()

    def listen() -> None:
        while not stop.is_set():
            try:
                answer = http.ask(service.port, "GET", "/readyz")
            except OSError:
                continue
            if answer.status == 503 and answer.body not in heard:
                heard.append(answer.body)

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield heard
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def deployment(alone: Alone) -> Deployment:
    deployment = alone()
    deployment.start()
    return deployment


def asked_and_copied(deployment: Deployment, *, lost: int = 15) -> tuple[Client, Store, set[str]]:
    """A store with three runs, a copy of it, and `lost` runs more that the copy does not have; every id so far."""
    client = deployment.client()
    early = Asked(client)
    early.ask(3, "the fox")
    early.ended()
    store = Store(deployment)
    late = Asked(client)
    late.ask(lost, "the hound")
    runs = {**early.runs(), **late.ended()}
    assert all(run == f"r{seq}" for seq, run in runs.items())
    return client, store, set(runs.values())


def test_a_log_that_lost_its_tail_under_a_coordinator_is_read_anew(deployment: Deployment):
    client, store, before = asked_and_copied(deployment)
    end = client.end()
    store.set_back()
    with listening(deployment.coordinator) as refusals:
        deployment.server.start()
        wait_until(lambda: client.connected)
        asked = Asked(client)
        asked.ask(10, "the hen")
        runs = asked.ended()
        deployment.wait_until_ready()
    assert not before & set(runs.values())
    assert any(REASON in refusal for refusal in refusals), refusals
    afterwards = Asked(client)
    afterwards.ask(3, "the cock")
    assert all(run == f"r{seq}" and seq > end for seq, run in afterwards.ended().items())
