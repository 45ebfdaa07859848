"""The connection to NATS: what a message's headers are, and its end with a server that does not do its part."""

# pyright: reportPrivateUsage=false

import asyncio
import json
from collections.abc import Sequence

from hypothesis import example, given
from hypothesis.strategies import binary, lists, sampled_from
from nats.aio.client import Client

from shared.runtime import link
from shared.runtime.link import Incoming, Link

_INFO = {"server_id": "A", "version": "2.12.0", "host": "127.0.0.1", "port": 0, "max_payload": 1 << 20, "headers": True}
PARTS = sampled_from(
    [b"Content-Type", b"A", b"b c", b": ", b":", b"", b" ", b"\t", b"\r\n", b"\xff", "ü".encode(), b"1"]
)


@given(lists(PARTS | binary(max_size=3)))
@example([b"A: 1\r\n", b"A: 2\r\n\r\n"])
def test_headers_are_parsed_as_nats_py_does(parts: Sequence[bytes]):
    raw = b"".join(parts)
    assert link._Client._parse_header_lines(raw) == Client._parse_header_lines(raw)


async def _heard(url: str, headers: dict[str, str]) -> Incoming:
    connection = await Link.open([url], name="test")
    heard: asyncio.Queue[Incoming] = asyncio.Queue()
    await connection.subscribe("it", heard.put_nowait)
    await connection.post("it", b"", headers)
    async with asyncio.timeout(10):
        message = await heard.get()
    await connection.close()
    return message


def test_names_of_headers_are_looked_at_once(url: str):
    before = link._name.cache_info()
    for value in ("1", "2"):
        assert asyncio.run(_heard(url, {"Once": value})).headers == {"Once": value}
    after = link._name.cache_info()
    assert (after.misses - before.misses, after.hits - before.hits) == (1, 1)


def test_closing_takes_no_longer_than_it_may_although_the_server_reads_nothing():
    async def story() -> float:
        done = asyncio.Event()

        async def stand_still(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"INFO %s\r\n" % json.dumps(_INFO).encode())
            while not (await reader.readline()).startswith(b"PING"):
                pass
            writer.write(b"PONG\r\n")
            await done.wait()
            writer.transport.abort()

        server = await asyncio.start_server(stand_still, "127.0.0.1", 0)
        link = await Link.open([f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"], name="test")
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
        return took

    assert asyncio.run(story()) < 4
