"""Stored messages, read by JetStream's get APIs and parsed from its replies and deliveries."""

import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec

from shared.contracts.messages import Message
from shared.contracts.subjects import INBOUND
from shared.errors import Refused, Unavailable
from shared.nats import topology
from shared.nats.client import Incoming
from shared.nats.connection import Connection
from shared.runtime import clock

_NOT_FOUND: Final = 10037
_NO_HEADERS: Final[Mapping[str, str]] = {}


async def get_batch(link: Connection, stream: str, request: Mapping[str, object]) -> list[Message]:
    """Return the messages of a batched direct get, in order; from any replica, which may lag.

    `request` is the body that JetStream's API takes. Raises `Unavailable` for any status but "end" and "not found".
    """
    replies = await link.collect(f"$JS.API.DIRECT.GET.{stream}", msgspec.json.encode(request))
    last = replies[-1]
    if last.status not in (204, 404):
        raise Unavailable(f"Reading {stream} was answered {last.status} {last.description}.")
    return [parse_direct_get(reply) for reply in replies[:-1]]


async def get_from_leader(link: Connection, stream: str, request: Mapping[str, str | int]) -> Message | None:
    """Return one message as the stream's leader has it, or `None` if there is none.

    `request` is `{"seq": …}` or `{"last_by_subj": …}`. The result has no headers. Raises `Refused` or `Unavailable`.
    """
    try:
        answer = await topology.request_api(link, f"STREAM.MSG.GET.{stream}", request)
    except Refused as error:
        if error.code == _NOT_FOUND:
            return None
        raise
    stored = answer["message"]
    data = base64.b64decode(stored.get("data", ""))
    return Message(stored["subject"], stored["seq"], parse_time(stored["time"]), data)


def parse_direct_get(reply: Incoming) -> Message:
    """Return the stored message that a direct get answered with. Raises `KeyError` for a reply without one."""
    headers = reply.headers
    return Message(
        headers["Nats-Subject"],
        int(headers["Nats-Sequence"]),
        parse_time(headers["Nats-Time-Stamp"]),
        reply.data,
        headers,
    )


def parse_delivered(incoming: Incoming) -> tuple[int, int, Message]:
    """Return `(deliveries, consumer_seq, message)` of a message that a consumer delivered.

    `deliveries` counts from 1, `consumer_seq` numbers the consumer's deliveries from 1. Both stand in the reply subject
    `$JS.ACK.…`, which has two more tokens with a domain. Headers are read for contract messages only.
    """
    tokens = incoming.reply.split(".")
    at = 4 if len(tokens) == 9 else 6
    headers = incoming.headers if incoming.subject in INBOUND else _NO_HEADERS
    message = Message(incoming.subject, int(tokens[at + 1]), clock.at(int(tokens[at + 3])), incoming.data, headers)
    return int(tokens[at]), int(tokens[at + 2]), message


def parse_time(text: str) -> datetime:
    """Return the time of an RFC 3339 text, cut to microseconds. Raises `ValueError`."""
    return datetime.fromisoformat(text)
