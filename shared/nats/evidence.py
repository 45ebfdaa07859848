"""Frozen texts in the stream `EVIDENCE`, in chunks, by their SHA-256."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from shared.contracts.messages import Fill, Message
from shared.contracts.subjects import EVIDENCE, evidence
from shared.errors import Refused
from shared.nats.batch_writer import BatchWriter
from shared.nats.connection import Connection
from shared.nats.stored import get_batch, get_from_leader

CHUNK: Final = 128 * 1024
"""Bytes of a frozen text in one message."""
_REMEMBERED: Final = 10_000
"""Hashes of texts that this process knows to be stored."""


class EvidenceStore:
    """`Evidence` over JetStream. Texts stored by this process since the last reconnection are not sent again."""

    def __init__(self, link: Connection) -> None:
        self._link = link
        self._writer = BatchWriter(link, EVIDENCE, atomic=False, events=False)
        self.health = self._writer.health
        self._stored: dict[str, None] = {}
        link.on_reconnect(self._stored.clear)

    async def close(self) -> None:
        """Stop writing. Writes that still wait raise `Unavailable`."""
        await self._writer.close()

    async def put(self, text: str) -> str:
        """Store `text` and return its SHA-256 (hex, of the UTF-8 bytes); see `Evidence.put`."""
        data = text.encode()
        digest = sha256(data).hexdigest()
        if digest not in self._stored:
            chunks = [data[start : start + CHUNK] for start in range(0, max(1, len(data)), CHUNK)]
            filled = await self._writer.fill([Fill(evidence(digest, n), chunk) for n, chunk in enumerate(chunks)])
            if refused := next((answer for answer in filled if isinstance(answer, Refused)), None):
                raise refused
            self._remember(digest)
        return digest

    def _remember(self, digest: str) -> None:
        """Note that `digest` is stored; forget the oldest note beyond `_REMEMBERED`."""
        self._stored[digest] = None
        if len(self._stored) > _REMEMBERED:
            del self._stored[next(iter(self._stored))]

    async def get(self, sha256: str) -> str | None:
        """Return the text with this hash, checked against it, or `None` if it is missing or damaged.

        Asks the leader if a replica has not all chunks: a replica may lag.
        """
        messages = await get_batch(self._link, EVIDENCE, {"multi_last": [f"evidence.{sha256}.*"], "batch": 1_024})
        messages.sort(key=lambda message: int(message.subject.rsplit(".", 1)[1]))
        return _join_chunks(sha256, messages) or _join_chunks(sha256, await self._chunks_of_leader(sha256))

    async def _chunks_of_leader(self, sha256: str) -> list[Message]:
        """Return the chunks that the leader has, in order, up to the first that is missing."""
        chunks: list[Message] = []
        while chunk := await get_from_leader(self._link, EVIDENCE, {"last_by_subj": evidence(sha256, len(chunks))}):
            chunks.append(chunk)
        return chunks


def _join_chunks(digest: str, chunks: Sequence[Message]) -> str | None:
    """Return the text of these chunks if `digest` is its SHA-256, else `None`. The empty text has one empty chunk."""
    data = b"".join(chunk.data for chunk in chunks)
    return data.decode() if chunks and sha256(data).hexdigest() == digest else None
