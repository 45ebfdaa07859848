"""Somebody outside: publishes with plain nats-py, asks over HTTP, and hears what completes."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import nats
from nats.aio.client import Client as Connection
from nats.aio.msg import Msg
from nats.js.errors import NotFoundError

from tests.harness import http
from tests.harness.http import Answer
from tests.harness.waiting import PATIENCE_S, wait_until

T = TypeVar("T")

Json = dict[str, Any]


class Client:
    """Connects when created, so NATS has to be there; stays connected over restarts of it. Safe to use from threads."""

    def __init__(self, nats_url: str, api_port: int, *, data: Path) -> None:
        self._api_port = api_port
        self._data = data
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="client", daemon=True)
        self._thread.start()
        self._nats = self._wait(self._connect(nats_url))
        self._completed = self.listen("research.completed")

    async def _connect(self, url: str) -> Connection:
        async def quiet(_error: Exception) -> None:
            pass

        connection = await nats.connect(url, error_cb=quiet, max_reconnect_attempts=-1, reconnect_time_wait=0)
        self.js = connection.jetstream(timeout=PATIENCE_S)
        return connection

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE_S)

    def close(self) -> None:
        """End the connection."""
        self._wait(self._nats.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def connected(self) -> bool:
        """Whether NATS is reachable."""
        return self._nats.is_connected

    def listen(self, subject: str) -> list[bytes]:
        """A list that grows by whatever is published on this subject from now on."""
        heard: list[bytes] = []

        async def hear(message: Msg) -> None:
            heard.append(message.data)

        self._wait(self._subscribe(subject, hear))
        return heard

    async def _subscribe(self, subject: str, hear: Any) -> None:
        await self._nats.subscribe(subject, cb=hear)
        await self._nats.flush()

    def publish(self, subject: str, data: object, headers: Mapping[str, str] | None = None) -> int:
        """Publish JSON, or bytes as they are; the stream sequence from the ack. Raises what nats-py does."""
        payload = data if isinstance(data, bytes) else json.dumps(data).encode()
        return self._wait(self.js.publish(subject, payload, headers=dict(headers) if headers else None)).seq

    def publish_all(self, subject: str, data: Iterable[object]) -> None:
        """Publish much, as fast as NATS takes it; returns when all of it is acknowledged."""
        self._wait(self._publish_all(subject, [json.dumps(each).encode() for each in data]))

    async def _publish_all(self, subject: str, payloads: list[bytes]) -> None:
        await asyncio.gather(*[await self.js.publish_async(subject, payload) for payload in payloads])

    def request(self, q: str = "What does the fox do?", **fields: object) -> str:
        """Publish `research.requested` as bare JSON; the run that it is."""
        seq = self.publish("research.requested", {"q": q} | fields)
        return str(fields.get("run_id", f"r{seq}"))

    def get(self, path: str) -> Answer:
        """The API's answer."""
        return http.ask(self._api_port, "GET", path, headers=http.key(self._data))

    def post(self, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Answer:
        """The API's answer."""
        return http.ask(self._api_port, "POST", path, body, http.key(self._data) | dict(headers or {}))

    def decide(self, run: str, decision: str, headers: Mapping[str, str] | None = None, **body: object) -> Answer:
        """POST a decision on a run."""
        path = f"/v1/runs/{run}/approvals"
        return self.post(path, {"decision": decision, "by": "tester"} | body, headers)

    def approve(self, run: str, headers: Mapping[str, str] | None = None, **body: object) -> Answer:
        """POST an approval of a run."""
        return self.decide(run, "approve", headers, **body)

    def until(self, run: str, status: str, timeout: float = PATIENCE_S) -> Json:
        """The run as the API shows it, as soon as that is its status."""

        def in_that_status() -> Json | None:
            answer = self.get(f"/v1/runs/{run}")
            return answer.body if answer.status == 200 and answer.body["status"] == status else None

        return wait_until(in_that_status, timeout)

    def stored(self, subject: str, stream: str = "RESEARCH") -> Json | None:
        """The newest event stored under a subject; `None` where there is none."""
        try:
            message = self._wait(self.js.get_last_msg(stream, subject))
        except NotFoundError:
            return None
        return json.loads(message.data or b"null")

    def raw(self, subject: str, stream: str = "RESEARCH") -> bytes:
        """The newest message under a subject, as it is."""
        return self._wait(self.js.get_last_msg(stream, subject)).data or b""

    def purge(self, stream: str, subject: str) -> None:
        """Delete what is stored under a subject, as an operator may."""
        self._wait(self.js.purge_stream(stream, subject=subject))

    def limit(self, stream: str, max_bytes: int) -> None:
        """Let a stream have so many bytes; -1 for as many as there are."""
        self._wait(self._limit(stream, max_bytes))

    async def _limit(self, stream: str, max_bytes: int) -> None:
        # nats-py does not know every setting of a stream, and would reset those that it does not.
        info = json.loads((await self._nats.request(f"$JS.API.STREAM.INFO.{stream}", b"")).data)
        config = json.dumps(info["config"] | {"max_bytes": max_bytes}).encode()
        answer = json.loads((await self._nats.request(f"$JS.API.STREAM.UPDATE.{stream}", config)).data)
        assert "error" not in answer, answer

    def messages(self, pattern: str) -> list[bytes]:
        """The newest message of every subject under a pattern."""
        return self._wait(self._messages(pattern))

    async def _messages(self, pattern: str) -> list[bytes]:
        counts = (await self.js.stream_info("RESEARCH", subjects_filter=pattern)).state.subjects or {}
        stored = await asyncio.gather(*(self.js.get_last_msg("RESEARCH", subject) for subject in counts))
        return [message.data or b"" for message in stored]

    def end(self, stream: str = "RESEARCH") -> int:
        """The sequence of a stream's newest message."""
        return self._wait(self.js.stream_info(stream)).state.last_seq

    def size(self, stream: str) -> int:
        """What a stream weighs, in bytes."""
        return self._wait(self.js.stream_info(stream)).state.bytes

    def fact(self, run: str, slot: str) -> Json:
        """What happened in a slot, as soon as something has: the data of its event, and its `type`."""
        event = wait_until(lambda: self.stored(f"research.run.{run}.{slot}"))
        return {"type": event["type"]} | event["data"]

    def refusal(self, seq: int) -> Json:
        """Why the message with this sequence was refused, as soon as it was."""
        return wait_until(lambda: self.stored(f"research.invalid.{seq}"))["data"]

    def completions(self, run: str) -> list[Json]:
        """What was heard of a run on `research.completed` so far."""
        events = [json.loads(data) for data in self._completed]
        return [event["data"] for event in events if event["subject"] == run]

    def completed(self, run: str, timeout: float = PATIENCE_S) -> Json:
        """How a run ended, as soon as that is heard."""
        return wait_until(lambda: self.completions(run), timeout)[0]

    def take(self, durable: str, *, quiet_s: float = 0.3) -> list[Json]:
        """What COMPLETIONS has for this durable consumer, until nothing comes for a while; made where it is missing."""
        return self._wait(self._take(durable, quiet_s))

    async def _take(self, durable: str, quiet_s: float) -> list[Json]:
        order = await self.js.pull_subscribe("research.completed", durable=durable, stream="COMPLETIONS")
        taken: list[Json] = []
        with contextlib.suppress(TimeoutError):
            while True:
                for message in await order.fetch(100, timeout=quiet_s):
                    taken.append(json.loads(message.data)["data"])
                    await message.ack()
        await order.unsubscribe()
        await self._nats.flush()
        return taken

    def hand_out_again_after(self, consumer: str, seconds: float) -> None:
        """Have what a dead worker had in hand handed to another that soon, instead of after half a minute."""
        config = self._wait(self.js.consumer_info("RESEARCH", consumer)).config
        config.ack_wait = seconds
        self._wait(self.js.add_consumer("RESEARCH", config))

    def counts(self, pattern: str, stream: str = "RESEARCH") -> dict[str, int]:
        """How many messages each subject under `pattern` has."""
        info = self._wait(self.js.stream_info(stream, subjects_filter=pattern))
        return dict(info.state.subjects or {})
