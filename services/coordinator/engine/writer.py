"""The one path by which this process fills slots of runs: for the leader's loop and for decisions over HTTP alike."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from shared.contracts.facts import RunCompleted
from shared.contracts.subjects import live_cancelled, parse_slot
from shared.domain.decoding import decode_message, known_fact
from shared.domain.encoding import PendingWrite
from shared.domain.run import Recorded
from shared.errors import Refused, Unavailable
from shared.runtime.dataref import load_text
from shared.runtime.log import Filled, Full, Log, Stored

logger = logging.getLogger(__name__)

_PUT_TEXT_S: Final = 5.0
_PUT_TEXT_WHEN_FULL_S: Final = 0.5
"""Time for one text while `EVIDENCE` is known to have no room, so that other writes wait less."""


class Written(Struct, frozen=True):
    """The bytes of a write are in the log, from this fill or from an earlier one whose answer was lost.

    `fact` is `None` for a refusal, which fills no slot of a run.
    """

    fact: Recorded | None


class Taken(Struct, frozen=True):
    """Other bytes were first in the slot: `fact`, or `None` if that message is no longer in the log."""

    fact: Recorded | None


class RunWriter:
    """Fills slots and finds out who won those that were full."""

    def __init__(self, log: Log) -> None:
        self._log = log

    async def write(self, write: PendingWrite, *, session: int, now: datetime) -> Written | Taken | Refused:
        """Fill one slot, and read it back from the stream's leader if it was full. Raises `Unavailable`, as `fill`."""
        [result] = await self.fill([write], session=session, now=now)
        if isinstance(result, Full):
            [result] = await self.read_winners([write])
        return result

    async def fill(
        self, writes: Sequence[PendingWrite], *, session: int, now: datetime
    ) -> list[Written | Full | Refused]:
        """Fill the slots that are empty; a result for each write, in order. `Full` are to be read with `read_winners`.

        `now` is the storage time of the facts in the results. Nothing is written in another session of the connection
        than `session`; then, and when the log is closed, raises `Unavailable`.
        """
        filled = await self._log.fill([write.fill for write in writes], session=session)
        results = [_result(write, each, now) for write, each in zip(writes, filled, strict=True)]
        for result in results:
            if isinstance(result, Written):
                await self._hint(result.fact)
        return results

    async def read_winners(self, lost: Sequence[PendingWrite]) -> list[Written | Taken]:
        """Read the slots of writes that were answered `Full`, from the stream's leader; a result for each, in order."""
        messages = await self._log.last([write.fill.subject for write in lost], leader=True) if lost else {}
        results: list[Written | Taken] = []
        for write in lost:
            message = messages.get(write.fill.subject)
            if message is None:
                results.append(Taken(None))
                continue
            slot = parse_slot(message.subject)
            assert slot
            it = decode_message(slot, await load_text(self._log, message))
            results.append(Written(it) if message.data == write.fill.data else Taken(it))
        return results

    async def _hint(self, it: Recorded | None) -> None:
        """Tell workers that a run was cancelled, so that they stop early. A hint may be lost."""
        if it and isinstance(it.fact, RunCompleted) and it.fact.outcome == "cancelled":
            with contextlib.suppress(Unavailable):
                await self._log.hint(live_cancelled(it.slot.run), b"")

    async def put_texts(self, writes: Sequence[PendingWrite]) -> tuple[list[PendingWrite], list[PendingWrite]]:
        """Store the texts that these writes refer to in `EVIDENCE`; the writes that are ready, and those that are not.

        A write is not ready if its text was refused, or could not be stored within seconds.
        """
        ready: list[PendingWrite] = []
        put_off: list[PendingWrite] = []
        for write in writes:
            stored = write.text is None or await self._is_stored(write.text)
            (ready if stored else put_off).append(write)
        return ready, put_off

    async def _is_stored(self, text: str) -> bool:
        """Store a text in `EVIDENCE`. Return False, and log a refusal, if it is not there in time."""
        try:
            async with asyncio.timeout(_PUT_TEXT_WHEN_FULL_S if self._log.trouble else _PUT_TEXT_S):
                await self._log.put(text)
        except TimeoutError:
            return False
        except Refused as error:
            logger.error("A text of %d characters was refused: %s", len(text), error, extra={"event": "text.refused"})
            return False
        return True


def _result(write: PendingWrite, filled: Filled, now: datetime) -> Written | Full | Refused:
    """Result of one write. A refusal that is recorded already counts as written: every coordinator writes the same."""
    match filled:
        case Stored(seq=seq) if write.slot and write.event:
            return Written(known_fact(write.slot, write.fill.data, write.event, seq=seq, stored_at=now))
        case Stored():
            return Written(None)
        case Full() if write.slot is None:
            return Written(None)
        case _:
            return filled
