"""Empty messages that bring the log past sequences that were given before it was truncated."""

from typing import Final

from shared.contracts.subjects import LOG_PADDING
from shared.errors import Refused, Unavailable
from shared.nats.batch_writer import BATCH, parse_reply
from shared.nats.connection import Connection
from shared.runtime.clock import token
from shared.runtime.log import Stored


async def append_padding(link: Connection, count: int, *, session: int) -> None:
    """Append `count` empty messages in one batch, at most `BATCH`. Raises `Unavailable` or `Refused`."""
    batch, last = token(), min(count, BATCH)
    for number in range(1, last):
        await link.post(LOG_PADDING, b"", _headers(batch, number), session=session)
    commit = _headers(batch, last) | _COMMIT
    reply = await (await link.ask(LOG_PADDING, b"", commit, session=session))
    answer = Unavailable("The stream is not there, or has no leader.") if reply.status else parse_reply(reply.data)
    if not isinstance(answer, Stored):
        raise answer if isinstance(answer, Refused | Unavailable) else Refused(0, "The padding was refused.")


_COMMIT: Final = {"Nats-Batch-Commit": "1"}


def _headers(batch: str, number: int) -> dict[str, str]:
    """Headers of message `number` (from 1) of an atomic batch."""
    return {"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)}
