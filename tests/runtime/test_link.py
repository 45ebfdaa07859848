"""The connection to NATS: what comes in over it, and its end with a server that does not do its part."""

import asyncio
import json
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis.strategies import binary, lists, sampled_from
from nats.aio.client import Client

from shared.nats import client
from shared.nats.client import Incoming
from shared.nats.connection import Connection
from tests.harness.ports import free_port
from tests.harness.waiting import PATIENCE_S
from tests.waiting import wait_until

_INFO = {"server_id": "A", "version": "2.12.0", "host": "127.0.0.1", "port": 0, "max_payload": 1 << 20, "headers": True}
PARTS = sampled_from(
    [
        b"Content-Type",
        b"A",
        b"b c",
        b": ",
        b":",
        b"",
        b" ",
        b"\t",
        b"\r\n",
        b"\xff",
        "ü".encode(),
        b"1",
        b"Status",
        b"503",
    ]
)
STARTS = sampled_from([b"NATS/1.0\r\n", b"NATS/1.0 404 No Messages\r\n", b"NATS/1.0 100\r\n", b"NATS/1.0  x\r\n"])


def _of_nats_py(block: bytes) -> dict[str, str]:
    return asyncio.run(Client()._process_headers(block)) or {}  # pyright: ignore[reportPrivateUsage]


@given(lists(PARTS | binary(max_size=3)))
@example([b"A: 1\r\n", b"A: 2"])
def test_headers_are_what_nats_py_makes_of_them(parts: Sequence[bytes]):
    block = b"NATS/1.0\r\n" + b"".join(parts) + b"\r\n\r\n"
    assert Incoming("a", "", b"", block).headers == _of_nats_py(block)


@given(STARTS, lists(PARTS))
def test_what_a_control_message_says_is_what_nats_py_makes_of_it(start: bytes, parts: Sequence[bytes]):
    message = Incoming("a", "", b"", start + b"".join(parts) + b"\r\n\r\n")
    known = _of_nats_py(start + b"\r\n")
    assert (message.status, message.description) == (int(known.get("Status", 0)), known.get("Description", ""))


@pytest.mark.parametrize(
    ("reply", "block"),
    [
        ("", b""),
        ("", b"NATS/1.0\r\nStatus: 503\r\n\r\n"),
        ("$JS.ACK.RESEARCH.fetch.1.2.3.4.5", b"NATS/1.0 404\r\n\r\n"),
        ("", b"NATS/1.0 404\r\nNats-Sequence: 1\r\n\r\n"),
    ],
)
def test_no_publisher_can_make_a_message_look_like_the_servers_word(reply: str, block: bytes):
    assert Incoming("a", reply, b"", block).status == 0


async def _heard(url: str, headers: dict[str, str]) -> Incoming:
    connection = await Connection.open([url], name="test")
    heard: asyncio.Queue[Incoming] = asyncio.Queue()
    await connection.subscribe("it", heard.put_nowait)
    await connection.post("it", b"x", headers, reply="there")
    async with asyncio.timeout(PATIENCE_S):
        message = await heard.get()
    await connection.close()
    return message


async def test_a_message_comes_straight_and_whole(url: str):
    message = await _heard(url, {"Once": "1"})
    assert type(message) is Incoming
    assert (message.subject, message.reply, message.data) == ("it", "there", b"x")
    assert message.headers == {"Once": "1"}


def test_names_of_headers_are_looked_at_once():
    client._name.cache_clear()  # pyright: ignore[reportPrivateUsage]
    for value in (b"1", b"2"):
        assert Incoming("a", "", b"", b"NATS/1.0\r\nOnce: %s\r\n\r\n" % value).headers == {"Once": value.decode()}
    assert client._name.cache_info()[:2] == (1, 1)  # pyright: ignore[reportPrivateUsage]


async def test_a_receiver_that_fails_is_told_of_and_hears_the_next_message(url: str, caplog: pytest.LogCaptureFixture):
    caplog.set_level("DEBUG", "shared.nats.connection")
    connection = await Connection.open([url], name="test")
    heard: list[bytes] = []

    def receive(message: Incoming) -> None:
        heard.append(message.data)
        if message.data == b"1":
            raise ValueError("a defect")

    await connection.subscribe("it", receive)
    for data in (b"1", b"2"):
        await connection.post("it", data)
    await wait_until(lambda: heard == [b"1", b"2"])
    await connection.close()
    assert "a defect" in caplog.text


@pytest.mark.parametrize("steps", range(12))
async def test_waiting_for_a_server_ends_when_it_is_cancelled_at_any_step_of_it(steps: int):
    opening = asyncio.create_task(Connection.open([f"nats://127.0.0.1:{free_port()}"], name="test"))
    for _ in range(steps):
        await asyncio.sleep(0)
    opening.cancel()
    _, going_on = await asyncio.wait({opening}, timeout=5)
    while not opening.done():
        opening.cancel()
        await asyncio.wait({opening}, timeout=0.05)
    assert going_on == set()


async def test_closing_takes_no_longer_than_it_may_although_the_server_reads_nothing():
    done = asyncio.Event()

    async def stand_still(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"INFO %s\r\n" % json.dumps(_INFO).encode())
        while not (await reader.readline()).startswith(b"PING"):
            pass
        writer.write(b"PONG\r\n")
        await done.wait()
        writer.transport.abort()

    server = await asyncio.start_server(stand_still, "127.0.0.1", 0)
    link = await Connection.open([f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"], name="test")
    posts = [asyncio.create_task(link.post("a", b"x" * (1 << 20))) for _ in range(20)]
    await asyncio.wait(posts, timeout=0.3)
    time = asyncio.get_running_loop().time
    began = time()
    closing = asyncio.create_task(link.close())
    await asyncio.wait({closing}, timeout=8)
    took = time() - began
    done.set()
    server.close()
    for post in posts:
        post.cancel()
    await asyncio.wait({closing, *posts}, timeout=5)
    assert took < 4
