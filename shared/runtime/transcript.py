"""What is said to language models and what they reply, frozen in `EVIDENCE` before the fact that names it is written.

A model says here what it was asked and what came back. Whoever performs tasks begins a transcript for each, and freezes
it once the task has its result: so no call that is paid for waits on a store while its reply is still at stake, and
a task that asks no model costs nothing.
"""

import logging
from contextvars import ContextVar
from hashlib import sha256
from typing import Final

from shared.errors import Refused
from shared.runtime.log import Evidence

logger = logging.getLogger(__name__)

_TEXTS: Final[ContextVar[dict[str, str] | None]] = ContextVar("said", default=None)
"""The texts that are not frozen yet, by their SHA-256."""


def begin_transcript() -> None:
    """Keep what is said from here on in this asyncio task, and in those that it starts; it ends with this one."""
    _TEXTS.set({})


def record_text(text: str) -> str:
    """The SHA-256 (hex) under which `text` will be frozen; empty where no transcript was begun."""
    said = _TEXTS.get()
    if said is None:
        return ""
    data = text.encode("utf-8", "replace")
    name = sha256(data).hexdigest()
    said[name] = data.decode()
    return name


async def store_texts(evidence: Evidence) -> None:
    """Store what was said and is not stored yet, however long that takes.

    What `EVIDENCE` will never take is let go: a result is worth more than the words that led to it.
    """
    said = _TEXTS.get() or {}
    for name in list(said):
        try:
            await evidence.put(said[name])
        except Refused as error:
            text = "What was said in a model call, %s, is not kept: %s"
            logger.warning(text, name, error, extra={"event": "transcript.refused"})
        del said[name]
