"""What a log still waits for: runs that were accepted, and messages without an answer."""

import json
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from shared.contracts.messages import Message

CONTRACT: Final = ("research.requested", "research.approved", "research.rejected", "research.cancelled")


class Asked(Struct, frozen=True):
    """A request as it is read here: the run that it is for, and what it asks without that name."""

    run: str
    content: str


class Book:
    """The log, read once as it grows: which runs and messages still wait for something."""

    def __init__(self) -> None:
        self._open: set[str] = set()
        self._unanswered: dict[int, Asked | None] = {}
        self._asked: dict[int, Asked | None] = {}
        self._accepted: dict[str, Asked | None] = {}
        self._read = 0

    def read(self, messages: Sequence[Message]) -> None:
        """Take in what is new."""
        for message in messages[self._read :]:
            self._take(message)
        self._read = len(messages)

    def waits(self) -> list[str]:
        """What is still to come, in words."""
        runs = [f"Run {run} was accepted and has not completed." for run in sorted(self._open)]
        messages = [
            f"The message at {seq} has no answer."
            for seq, asked in self._unanswered.items()
            if not (asked and self._accepted.get(asked.run) == asked)
        ]
        return runs + messages

    def _take(self, message: Message) -> None:
        subject = message.subject
        if subject in CONTRACT:
            self._asked[message.seq] = self._unanswered[message.seq] = asked_in(message)
        elif subject.startswith("research.invalid."):
            self._unanswered.pop(int(subject.rsplit(".", 1)[1]), None)
        elif subject.startswith("research.run."):
            _, _, run, slot = subject.split(".", 3)
            if slot == "accepted":
                self._open.add(run)
                seq = json.loads(message.data)["data"]["request_seq"]
                self._accepted[run] = self._asked.get(seq)
                self._unanswered.pop(seq, None)
            elif slot == "completed":
                self._open.discard(run)
            if slot == "completed" or slot.startswith("decision."):
                self._unanswered.pop(json.loads(message.data)["data"].get("message_seq"), None)


def asked_in(message: Message) -> Asked | None:
    """What a message asks for; `None` where it is no request that can be read."""
    try:
        content = json.loads(message.data)
        name = content.pop("run_id", None) or message.headers.get("Nats-Msg-Id") or f"r{message.seq}"
    except (ValueError, AttributeError, TypeError, RecursionError):
        return None
    return Asked(name, json.dumps(content, sort_keys=True)) if message.subject == CONTRACT[0] else None
