"""Facts too large for a message: their data goes to `EVIDENCE` before the fact is written, and comes back when read.

What fits costs nothing: no read and no write more, and one look for the name `dataref` in its bytes.
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
"""Bytes of such data that are held beyond the first before somebody deals with them."""


async def encode_fact(evidence: Evidence, slot: Slot, event: Event) -> bytes:
    """The message that fills `slot` with `event`; what is too large for it is in `EVIDENCE` when this returns.

    Raises `TooLarge` for what is too large even for that, and `Refused` where `EVIDENCE` will never take it.
    """
    try:
        return envelope.encode(slot, event)
    except TooLarge:
        reference = envelope.encode_reference(slot, event)
    await evidence.put(reference.text)
    return reference.message


async def load_text(evidence: Evidence, message: Message) -> Message:
    """The message with the data that it refers to; as it is where it refers to none, or none that is there."""
    sha256 = envelope.referenced_sha256(message.data)
    if sha256 is None or message.text is not None:
        return message
    text = await evidence.get(sha256)
    return message if text is None else replace(message, text=text.encode())


async def load_texts(evidence: Evidence, chunk: Sequence[Message]) -> AsyncIterator[Sequence[Message]]:
    """The whole messages of a chunk, however long `EVIDENCE` takes; at once, unless together they are too much."""
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
