"""The connection: what a message's headers are."""

# pyright: reportPrivateUsage=false

import asyncio

from nats.aio.client import Client

from shared.runtime import link
from shared.runtime.link import Incoming, Link


async def _heard(url: str, *, times: int) -> list[Incoming]:
    heard: list[Incoming] = []
    done = asyncio.Event()

    def receive(message: Incoming) -> None:
        heard.append(message)
        if len(heard) == times:
            done.set()

    connection = await Link.open([url], name="test")
    await connection.subscribe("it", receive)
    for _ in range(times):
        await connection.post("it", b"", {"A": "1", "B": "ü"})
    async with asyncio.timeout(10):
        await done.wait()
    await connection.close()
    return heard


def test_the_same_headers_are_parsed_once_and_each_message_has_its_own(url: str):
    before = link._lines.cache_info()
    first, second = asyncio.run(_heard(url, times=2))
    assert first.headers == second.headers == {"A": "1", "B": "ü"}
    assert first.headers is not second.headers
    after = link._lines.cache_info()
    assert (after.misses - before.misses, after.hits - before.hits) == (1, 1)


def test_headers_are_parsed_as_nats_py_does():
    for raw in (b"A: 1\r\nB:2\r\n\r\n", b"\r\n", b"nothing\r\n\r\n", b"Long: " + b"x" * 1_000 + b"\r\n\r\n"):
        assert link._Client._parse_header_lines(raw) == Client._parse_header_lines(raw)
