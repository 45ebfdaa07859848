"""A whole log in a file, one message a line, and what the code makes of it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Self

import msgspec
from msgspec import Struct

from shared.contracts import envelope
from shared.contracts.messages import Message
from shared.contracts.subjects import parse_slot
from shared.domain.decoding import decode_message
from shared.domain.owed import Owed, owed
from shared.domain.run import Recorded, Run, evolve

LATER = (timedelta(minutes=1), timedelta(hours=3), timedelta(days=15))
"""When it is asked as well what is owed, after the last message."""

Json = dict[str, Any]


class _Line(Struct, omit_defaults=True):
    """A message, or a text that messages refer to. Bytes that are no UTF-8 stand in `hex`."""

    subject: str = ""
    seq: int = 0
    time: datetime | None = None
    headers: dict[str, str] = {}
    data: str | None = None
    hex: str | None = None
    text: str | None = None


class GoldenLog(Struct):
    """Messages in order, and the texts that are in `EVIDENCE` by their hashes."""

    messages: list[Message]
    texts: dict[str, str]

    @classmethod
    def decoded(cls, data: bytes) -> Self:
        """What `encoded` gave."""
        lines = [msgspec.json.decode(line, type=_Line) for line in data.splitlines()]
        texts = {sha256(line.text.encode()).hexdigest(): line.text for line in lines if line.text is not None}
        messages = [_message(line, texts) for line in lines if line.text is None]
        return cls(messages, texts)

    def encoded(self) -> bytes:
        """The log as a file has it."""
        lines = [*(_Line(text=text) for text in self.texts.values()), *map(_line, self.messages)]
        return b"".join(msgspec.json.encode(line) + b"\n" for line in lines)


class States(Struct):
    """Each run as its log is folded, and what it is owed: after each message where that changes, and later still."""

    runs: dict[str, Json]
    owed: dict[str, list[Json]]

    @classmethod
    def of(cls, golden: GoldenLog) -> Self:
        """What this code makes of a log."""
        log = GoldenLog.decoded(golden.encoded())
        runs = told(log.messages)
        return cls(
            {name: msgspec.to_builtins(run, str_keys=True) for name, run in runs.items()},
            {name: list(_owed(log.messages, name)) for name in runs},
        )

    def encoded(self) -> bytes:
        """As a person reads it."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"


def told(messages: Iterable[Message]) -> dict[str, Run]:
    """The runs of a log, by name."""
    runs: dict[str, Run] = {}
    for message in messages:
        if slot := parse_slot(message.subject):
            runs[slot.run] = evolve(runs.get(slot.run) or Run(slot.run), decode_message(slot, message))
    return runs


def facts(messages: Iterable[Message]) -> dict[str, list[Recorded]]:
    """What is recorded in a log, by run."""
    runs: defaultdict[str, list[Recorded]] = defaultdict(list)
    for message in messages:
        if slot := parse_slot(message.subject):
            runs[slot.run].append(decode_message(slot, message))
    return runs


def _owed(messages: list[Message], name: str) -> Iterable[Json]:
    before: object = None
    moments = [(place, message.time) for place, message in enumerate(messages, 1)]
    moments += [(len(messages), messages[-1].time + later) for later in LATER]
    for place, at in moments:
        if run := told(messages[:place]).get(name):
            now = _said(owed(run, at))
            if now != before:
                yield {"after": place, "at": msgspec.to_builtins(at), **now}
            before = now


def _said(due: Owed) -> Json:
    facts = [{"slot": slot.path, "fact": msgspec.to_builtins(fact)} for slot, fact in due.facts]
    return {"facts": facts, "wake_at": msgspec.to_builtins(due.wake_at)}


def _line(message: Message) -> _Line:
    line = _Line(message.subject, message.seq, message.time, dict(message.headers))
    try:
        line.data = message.data.decode()
    except UnicodeDecodeError:
        line.hex = message.data.hex()
    return line


def _message(line: _Line, texts: Mapping[str, str]) -> Message:
    assert line.time
    data = bytes.fromhex(line.hex) if line.hex is not None else (line.data or "").encode()
    text = texts.get(envelope.referenced_sha256(data) or "")
    return Message(line.subject, line.seq, line.time, data, line.headers, None if text is None else text.encode())
