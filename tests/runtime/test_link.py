"""The connection to NATS against a server that does not do its part."""

import asyncio
import json

from shared.runtime.link import Link

_INFO = {"server_id": "A", "version": "2.12.0", "host": "127.0.0.1", "port": 0, "max_payload": 1 << 20, "headers": True}


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
