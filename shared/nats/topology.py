"""Creation of streams and consumers.

The leading coordinator creates and updates them; other processes wait until they exist. No stream allows schedules,
rollups or marker TTLs: subject permissions do not bind headers, so that a user who may write one subject could forge or
delete others.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from shared.contracts.subjects import ACCESS, COORDINATOR_LEAD, RESEARCH
from shared.contracts.topology import Config, Limits, consumers, streams
from shared.errors import Refused, ServerTooOld, Unavailable
from shared.nats.connection import Connection

logger = logging.getLogger(__name__)

OLDEST_SERVER: Final = (2, 12, 0)

_STREAM_NOT_FOUND: Final = 10059
_CONSUMER_NOT_FOUND: Final = 10014


async def ensure_topology(link: Connection, limits: Limits) -> None:
    """Create or update every stream and consumer. Raises `ServerTooOld`, `Refused` or `Unavailable`."""
    check_server_version(link)
    for stream in streams(limits):
        await _ensure_stream(link, stream)
    for consumer in consumers(limits):
        await request_api(
            link, f"CONSUMER.DURABLE.CREATE.{RESEARCH}.{consumer['durable_name']}", _create_request(consumer)
        )


async def ensure_lead(link: Connection, limits: Limits) -> None:
    """Create the stream and the consumer that an election needs, if they are missing; change nothing that exists."""
    check_server_version(link)
    if not await _exists(link, f"STREAM.INFO.{RESEARCH}", _STREAM_NOT_FOUND):
        await _ensure_stream(link, streams(limits)[0])
    if not await _exists(link, f"CONSUMER.INFO.{RESEARCH}.{COORDINATOR_LEAD}", _CONSUMER_NOT_FOUND):
        lead = consumers(limits)[-1]
        await request_api(link, f"CONSUMER.DURABLE.CREATE.{RESEARCH}.{COORDINATOR_LEAD}", _create_request(lead))


async def ensure_access(link: Connection, limits: Limits) -> None:
    """Create the stream of access keys if it is missing. Keys are needed before a leader is elected."""
    check_server_version(link)
    if not await _exists(link, f"STREAM.INFO.{ACCESS}", _STREAM_NOT_FOUND):
        await _ensure_stream(link, next(stream for stream in streams(limits) if stream["name"] == ACCESS))


async def wait_for_consumer(link: Connection, consumer: str, *, stream: str = RESEARCH) -> None:
    """Return once this durable consumer exists. Logs once that it waits; retries every 0.2 s, also on
    errors of NATS.
    """
    is_logged = False
    while True:
        try:
            if await consumer_exists(link, stream, consumer):
                return
            reason = f"{stream} has no consumer {consumer} yet"
        except (Unavailable, Refused) as error:
            reason = str(error)
        if not is_logged:
            logger.warning(
                "Waiting for a coordinator to set up JetStream: %s.", reason, extra={"event": "topology.awaited"}
            )
        is_logged = True
        await asyncio.sleep(0.2)


async def consumer_exists(link: Connection, stream: str, consumer: str) -> bool:
    """Return True if the stream has this consumer; False also if the stream is missing."""
    return await _exists(link, f"CONSUMER.INFO.{stream}.{consumer}", _CONSUMER_NOT_FOUND)


async def update_filter(link: Connection, stream: str, consumer: str, subjects: Sequence[str]) -> None:
    """Set the subjects of an existing consumer, which keeps its position. Nothing is sent if they are equal."""
    info = await request_api(link, f"CONSUMER.INFO.{stream}.{consumer}")
    if sorted(info["config"].get("filter_subjects", ())) != sorted(subjects):
        config = info["config"] | {"filter_subjects": list(subjects)}
        await request_api(
            link, f"CONSUMER.DURABLE.CREATE.{stream}.{consumer}", {"stream_name": stream, "config": config}
        )


def check_server_version(link: Connection) -> None:
    """Raise `ServerTooOld` if the server is older than `OLDEST_SERVER`."""
    version = link.server_version
    if version < OLDEST_SERVER:
        have, need = (".".join(map(str, number)) for number in (version, OLDEST_SERVER))
        raise ServerTooOld(
            f"This NATS server is {have}; Dossier needs {need} or newer, for atomic batches. Update nats-server."
        )


async def request_api(link: Connection, call: str, body: object = None) -> dict[str, Any]:
    """Return the answer of JetStream's API to `call`, a subject below `$JS.API.`.

    Raises `Refused` with its error, and `Unavailable` without an answer or for code 503.
    """
    reply = await link.request(f"$JS.API.{call}", b"" if body is None else msgspec.json.encode(body))
    answer = msgspec.json.decode(reply.data, type=dict[str, Any])
    if error := answer.get("error"):
        text = f"{call}: {error.get('description', 'refused')}"
        if error.get("code") == 503:
            raise Unavailable(text)
        raise Refused(int(error.get("err_code", 0)), text)
    return answer


async def _ensure_stream(link: Connection, stream: Config) -> None:
    """Update a stream, or create it if it does not exist."""
    try:
        await request_api(link, f"STREAM.UPDATE.{stream['name']}", stream)
    except Refused as error:
        if error.code != _STREAM_NOT_FOUND:
            raise
        await request_api(link, f"STREAM.CREATE.{stream['name']}", stream)


async def _exists(link: Connection, call: str, not_found: int) -> bool:
    """Return False if the API answers `not_found` or that the stream is missing. Raises other errors."""
    try:
        await request_api(link, call)
    except Refused as error:
        if error.code not in (not_found, _STREAM_NOT_FOUND):
            raise
        return False
    return True


def _create_request(consumer: Config) -> Config:
    """The API's request to create a consumer of `RESEARCH`."""
    return {"stream_name": RESEARCH, "config": consumer}
