"""Runs on hold by the hundred thousand: how fast they are folded from nothing, what they weigh, how soon they are back.

The log is written beforehand, to the byte as the services write it. Then the services start on it, without a
projection; then everything is killed and started once more, and some of the runs are approved.
"""

import asyncio
import json
import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import msgspec
import nats
from nats.aio.client import Client as Connection
from nats.js.errors import NotFoundError

from shared.contracts import envelope
from shared.contracts.envelope import HEADERS, Event
from shared.contracts.evidence import Passage, Source
from shared.contracts.facts import Fact, FetchFound, HoldOpened, PlanMade, RunAccepted, TaskIssued
from shared.contracts.requests import Request
from shared.contracts.subjects import APPROVED, COMPLETED, KINDS, REQUESTED, RESEARCH, Slot, Step
from shared.contracts.tasks import FetchTask, PlanTask
from shared.runtime import clock
from tests.bench.case import Measured
from tests.bench.meter import rss_mb
from tests.harness import http
from tests.harness.deployment import Deployment
from tests.harness.stub import QUERIES, QUOTE

RUNS: Final = 100_000

_BATCH: Final = 1_000
_NAME: Final = "parked-0000000"
_TRACE: Final = f"00-{'a' * 32}-{'b' * 16}-01"
_WOKEN: Final = 200
_WITHIN_S: Final = 300.0


class _Message(NamedTuple):
    subject: str
    data: bytes

    def of(self, run: str) -> "_Message":
        """The same message of another run, whose name is as long."""
        return _Message(self.subject.replace(_NAME, run), self.data.replace(_NAME.encode(), run.encode()))


def measure(runs: int) -> Measured:
    """So many runs, held by everything that a deployment has."""
    with (
        TemporaryDirectory(prefix="dossier-bench-") as folder,
        Deployment(Path(folder), sync_interval="2m", settings={"DOSSIER_LOG_LEVEL": "WARNING"}) as deployment,
    ):
        deployment.start()
        asyncio.run(_set_up(deployment.server.url))
        deployment.coordinator.kill()
        facts = asyncio.run(_write(deployment.server.url, runs))
        rebuilt_s = _seconds_to_start(deployment)
        loaded = rss_mb(child.pid for child in deployment.children)
        deployment.kill()
        again_s = _seconds_to_start(deployment)
        parked = rss_mb(child.pid for child in deployment.children)
        assert _on_hold(deployment), "No run is on hold."
        woken_s = asyncio.run(_wake(deployment.server.url, runs))
    return {
        "facts": facts,
        "rebuilt_s": rebuilt_s,
        "facts_per_s": facts / rebuilt_s,
        "rss_kib_per_run_after_rebuild": loaded * 1_024 / runs,
        "again_s": again_s,
        "rss_kib_per_run": parked * 1_024 / runs,
        "woken_ms_per_run": woken_s * 1_000 / _WOKEN,
    }


def _seconds_to_start(deployment: Deployment) -> float:
    """Until every service is ready: a coordinator is when it has folded the log to its end."""
    began = time.perf_counter()
    deployment.server.start()
    deployment.start_services()
    for service in deployment.services.values():
        service.wait_until_ready(_WITHIN_S)
    return time.perf_counter() - began


def _on_hold(deployment: Deployment) -> bool:
    key = http.key(deployment.coordinator.data)
    return bool(http.ask(deployment.coordinator.port, "GET", "/v1/runs?status=hold&limit=1", headers=key).body["runs"])


async def _wake(url: str, runs: int) -> float:
    """Seconds from the first of some approvals, all over the log, to the last of their reports."""
    connection = await nats.connect(url)
    reports = await connection.subscribe(COMPLETED)
    began = time.perf_counter()
    for number in range(0, runs, runs // _WOKEN):
        await connection.publish(APPROVED, msgspec.json.encode({"run_id": _name(number), "by": "bench"}))
    for _ in range(_WOKEN):
        report = json.loads((await reports.next_msg(timeout=_WITHIN_S)).data)
        assert report["data"]["ok"], report
    seconds = time.perf_counter() - began
    await connection.close()
    return seconds


async def _write(url: str, runs: int) -> int:
    """Write the log of so many runs on hold, in atomic batches; how many messages that makes."""
    connection = await nats.connect(url)
    template = list(_messages(_NAME, clock.now()))
    at_once = _BATCH // len(template)
    for first in range(0, runs, at_once):
        names = [_name(number) for number in range(first, min(first + at_once, runs))]
        await _commit(connection, str(first), [message.of(name) for name in names for message in template])
    await _worked_off(connection)
    await connection.close()
    return runs * len(template)


async def _set_up(url: str) -> None:
    """Wait until the coordinator has made what the workers take their tasks from."""
    connection = await nats.connect(url)
    while await _waiting(connection) is None:  # noqa: ASYNC110  only asking tells
        await asyncio.sleep(0.1)
    await connection.close()


async def _worked_off(connection: Connection) -> None:
    """Wait until the workers have found each of these tasks done, as they have where a projection is lost."""
    while await _waiting(connection):  # noqa: ASYNC110  only asking tells
        await asyncio.sleep(0.5)


async def _waiting(connection: Connection) -> int | None:
    """How many tasks wait for workers or are with them; `None` where there is no consumer of them yet."""
    try:
        consumers = [await connection.jetstream().consumer_info(RESEARCH, kind) for kind in KINDS]
    except NotFoundError:
        return None
    return sum((consumer.num_pending or 0) + (consumer.num_ack_pending or 0) for consumer in consumers)


async def _commit(connection: Connection, batch: str, messages: list[_Message]) -> None:
    for number, (subject, data) in enumerate(messages, 1):
        headers = {"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)}
        headers |= {} if subject == REQUESTED else HEADERS
        if number < len(messages):
            await connection.publish(subject, data, headers=headers)
        else:
            reply = await connection.request(subject, data, headers=headers | {"Nats-Batch-Commit": "1"}, timeout=30)
            assert "error" not in json.loads(reply.data), reply.data


def _name(number: int) -> str:
    return f"parked-{number:07}"


def _messages(run: str, now: datetime) -> Iterator[_Message]:
    request = Request(q="What does the fox do?", run_id=run)
    yield _Message(REQUESTED, msgspec.json.encode(request))
    for slot, fact in _facts(run, request, now):
        yield _Message(slot.subject, envelope.encode(slot, Event(fact, "dossier/bench", now, _TRACE)))


def _facts(run: str, request: Request, now: datetime) -> Iterable[tuple[Slot, Fact]]:
    yield (
        Slot(run, "accepted"),
        RunAccepted(
            q=request.q,
            request_seq=1,
            request_sha256=request.content_sha256,
            approval="required",
            approval_timeout_s=timedelta(days=14).total_seconds(),
        ),
    )
    yield Step(run, "plan", 1).task(1), TaskIssued(task=PlanTask(request.q))
    yield Slot(run, "plan", 1), PlanMade(queries=QUERIES, planner="stub")
    for index, query in enumerate(QUERIES):
        yield Step(run, "fetch", 1, index).task(1), TaskIssued(task=FetchTask(query))
        yield Slot(run, "fetch", 1, index), FetchFound(query=query, sources=(_source(query),))
    yield Slot(run, "hold", 1), HoldOpened(digest="d" * 64, deadline=now + timedelta(days=14))


def _source(query: str) -> Source:
    text = f"Of {query}: {f'{QUOTE} ' * 11}"
    name = sha256(text.encode()).hexdigest()
    return Source(name, f"Foxes: {query}", f"stub:{query}", "stub", (Passage(text, 0),))
