"""Prompts and replies of model calls, stored in `EVIDENCE` before the fact that names them.

A model records its texts here. A worker begins a transcript for each task and stores it once the task has its result:
no call waits for a store while its reply is at stake.
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
    """Record texts from now on in this asyncio task and in those that it starts, in place of an earlier transcript."""
    _TEXTS.set({})


def record_text(text: str) -> str:
    """Record `text` and return the SHA-256 (hex) under which it will be stored; `""` if no transcript was begun."""
    texts = _TEXTS.get()
    if texts is None:
        return ""
    data = text.encode("utf-8", "replace")
    name = sha256(data).hexdigest()
    texts[name] = data.decode()
    return name


async def store_texts(evidence: Evidence) -> None:
    """Store the recorded texts that are not stored yet, however long that takes.

    A text that `EVIDENCE` refuses is logged and dropped. Raises `Unavailable` if the log is closed.
    """
    texts = _TEXTS.get() or {}
    for name in list(texts):
        try:
            await evidence.put(texts[name])
        except Refused as error:
            text = "A text of a model call, %s, is not stored: %s"
            logger.warning(text, name, error, extra={"event": "transcript.refused"})
        del texts[name]
