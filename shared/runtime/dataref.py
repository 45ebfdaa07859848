"""Facts too large for a message: their data is stored in `EVIDENCE` before the fact, and loaded when the fact is read.

A fact that fits costs no extra read or write.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Final

from msgspec.structs import replace

from shared.contracts import envelope
from shared.contracts.envelope import Event
from shared.contracts.messages import Message
from shared.contracts.subjects import Slot
from shared.errors import TooLarge
from shared.runtime.aio import retry_unavailable
from shared.runtime.log import Evidence

_AT_ONCE: Final = envelope.MAX_TEXT_BYTES
"""Bytes of loaded data, beyond the first text, that are held before they are yielded."""


async def encode_fact(evidence: Evidence, slot: Slot, event: Event) -> bytes:
    """Return the message that fills `slot` with `event`. If it is too large, its data is stored in `EVIDENCE` first.

    Raises `TooLarge` above `MAX_TEXT_BYTES`, and `Refused` if `EVIDENCE` will never take the data.
    """
    try:
        return envelope.encode(slot, event)
    except TooLarge:
        reference = envelope.encode_reference(slot, event)
    await evidence.put(reference.text)
    return reference.message


async def load_text(evidence: Evidence, message: Message) -> Message:
    """Return the message with the data that it refers to; unchanged if it refers to none or the text is missing."""
    sha256 = envelope.referenced_sha256(message.data)
    if sha256 is None or message.text is not None:
        return message
    text = await evidence.get(sha256)
    return message if text is None else replace(message, text=text.encode())


async def load_texts(evidence: Evidence, chunk: Sequence[Message]) -> AsyncIterator[Sequence[Message]]:
    """Yield the messages of a chunk with their data loaded, in order; waits while NATS is unavailable.

    One chunk, unless the loaded data exceeds `_AT_ONCE` bytes: then several.
    """
    if not any(envelope.referenced_sha256(message.data) for message in chunk):
        yield chunk
        return
    part: list[Message] = []
    weight = 0
    for message in chunk:
        part.append(await retry_unavailable(lambda message=message: load_text(evidence, message)))
        weight += len(part[-1].text or b"")
        if weight > _AT_ONCE:
            yield part
            part, weight = [], 0
    if part:
        yield part
