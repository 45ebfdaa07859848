"""What is stored, read anew from subjects and JSON: messages, runs, frozen texts."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

Json = dict[str, Any]


class Stored(NamedTuple):
    """One message of a stream."""

    subject: str
    seq: int
    at: datetime
    data: bytes
    text: str | None = None
    """The frozen text that has its data, where it refers to one."""

    @property
    def event(self) -> Json:
        """What it says, decoded."""
        return json.loads(self.data)

    @property
    def fact(self) -> Json:
        """The data of its event; nothing where that is in a text which is not there."""
        return self.event.get("data", {}) if self.text is None else json.loads(self.text)

    @property
    def reference(self) -> str | None:
        """The SHA-256 of the text that has its data."""
        return self.event["dataref"].removeprefix("evidence:") if b'"dataref"' in self.data else None

    def whole(self, texts: Mapping[str, str]) -> "Stored":
        """The same message with the text that it refers to."""
        if self.text is not None or (reference := self.reference) is None:
            return self
        return self._replace(text=texts.get(reference))


class Run:
    """What is stored of one run: its messages by slot, each slot with all that were ever written to it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.slots: defaultdict[str, list[Stored]] = defaultdict(list)

    def first(self, slot: str) -> Stored | None:
        """The message that counts."""
        return self.slots[slot][0] if self.slots.get(slot) else None

    def under(self, *boxes: str) -> list[tuple[str, Stored]]:
        """The slots of these boxes that are filled."""
        return [(slot, found[0]) for slot, found in self.slots.items() if found and slot.split(".")[0] in boxes]


def runs_of(log: list[Stored]) -> dict[str, Run]:
    """The runs of a log, by name."""
    runs: dict[str, Run] = {}
    for message in log:
        if message.subject.startswith("research.run."):
            _, _, name, slot = message.subject.split(".", 3)
            runs.setdefault(name, Run(name)).slots[slot].append(message)
    return runs


def frozen(chunks: Iterable[Stored]) -> dict[str, str]:
    """The whole texts among these chunks, by their SHA-256."""
    parts: defaultdict[str, dict[int, bytes]] = defaultdict(dict)
    for chunk in chunks:
        _, sha256, number = chunk.subject.split(".")
        parts[sha256][int(number)] = chunk.data
    whole = {sha256: b"".join(data for _, data in sorted(chunks.items())) for sha256, chunks in parts.items()}
    return {sha256: data.decode() for sha256, data in whole.items() if hashlib.sha256(data).hexdigest() == sha256}
