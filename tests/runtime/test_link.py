"""The connection: what a message's headers are."""

# pyright: reportPrivateUsage=false

import asyncio
from collections.abc import Sequence

from hypothesis import example, given
from hypothesis.strategies import binary, lists, sampled_from
from nats.aio.client import Client

from shared.runtime import link
from shared.runtime.link import Incoming, Link

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
