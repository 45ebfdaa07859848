"""One run as a folder of plain files: its facts, the texts that they name, and what was said in its model calls.

case.json     which run it was, and what must come out of it; the part that people edit
facts.json    everything that is recorded of the run, in order
texts/        the frozen texts, each named by its SHA-256
calls/        of each model call the prompt, as a person reads it, and the response as it came
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Raw, Struct

from shared.contracts import envelope
from shared.contracts.evidence import Call
from shared.contracts.facts import Fact, FetchFound, TaskIssued, calls_of
from shared.contracts.messages import Message
from shared.contracts.subjects import parse_slot
from shared.contracts.tasks import SynthesizeTask

CASE: Final = "case.json"
FACTS: Final = "facts.json"
_TEXTS: Final = "texts"
_CALLS: Final = "calls"


class Case(Struct, frozen=True, kw_only=True):
    """What `case.json` says. `facts` are regular expressions of what the report should state."""

    about: str = ""
    run: str
    question: str
    outcome: str
    degraded: bool
    facts: tuple[str, ...] = ()
    context: dict[str, int] = {}
    """The tokens that each agent's model has room for: from them follows how much its prompt holds."""


class Said(Struct, frozen=True):
    """One model call: what it was asked, and what came back; `None` where that was not kept, or nothing came."""

    call: Call
    slot: str
    prompt: str | None = None
    reply: str | None = None


class Recording(Struct, frozen=True):
    """A run as it was recorded. The `messages` are whole, as the log has them."""

    case: Case
    messages: tuple[Message, ...]
    texts: Mapping[str, str]
    said: tuple[Said, ...] = ()


class _Line(Struct, frozen=True):
    """A message in `facts.json`."""

    seq: int
    stored_at: datetime
    fact: Raw


class _Identified(Struct, frozen=True):
    id: str


def decoded(message: Message) -> Fact:
    """The fact in a whole message. Raises `ContractError`."""
    return envelope.decode(message.data, message.text).fact


def named(messages: Sequence[Message]) -> Iterator[str]:
    """The SHA-256 of each text that these facts need: their own data, and the sources that they found."""
    for message in messages:
        if reference := envelope.referenced_sha256(message.data):
            yield reference
        match decoded(message):
            case FetchFound(sources=sources):
                yield from (source.sha256 for source in sources)
            case TaskIssued(task=SynthesizeTask(findings=findings)):
                yield from (source.sha256 for finding in findings for source in finding.sources)
            case _:
                pass


def calls(messages: Sequence[Message]) -> Iterator[tuple[str, Call]]:
    """Every model call with the slot that records it, in the order of the log."""
    for message in messages:
        slot = parse_slot(message.subject)
        assert slot
        yield from ((slot.path, call) for call in calls_of(decoded(message)))


def readable(prompt: str) -> str:
    """A prompt that was kept as JSON, as a person reads it, and a diff shows it."""
    messages = msgspec.json.decode(prompt, type=list[dict[str, str]])
    return "\n".join(f"=== {message.get('role')}\n{message.get('content')}\n" for message in messages)


def files(recording: Recording) -> dict[str, str]:
    """The files of a case by their path in its folder."""
    lines = [_Line(each.seq, each.time, Raw(each.data)) for each in recording.messages]
    made = {CASE: pretty(recording.case), FACTS: pretty(lines)}
    made |= {f"{_TEXTS}/{sha256}.txt": text for sha256, text in recording.texts.items()}
    for n, said in enumerate(recording.said, 1):
        made |= {path: text for path, text in zip(_paths(n, said), (said.prompt, said.reply), strict=True) if text}
    return made


def _paths(n: int, said: Said) -> tuple[str, str]:
    stem = f"{_CALLS}/{n:02}.{said.slot}.{said.call.prompt.partition('.')[0] or said.call.agent}"
    return f"{stem}.prompt.txt", f"{stem}.reply.json"


def pretty(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=1).decode() + "\n"


def read(folder: Path) -> Recording:
    """The case in a folder. Raises `OSError`, `msgspec.DecodeError` or `ContractError` for what is none."""
    case = msgspec.json.decode((folder / CASE).read_bytes(), type=Case)
    texts = {file.stem: _text(file) for file in sorted((folder / _TEXTS).glob("*.txt"))}
    lines = msgspec.json.decode((folder / FACTS).read_bytes(), type=list[_Line])
    messages = tuple(_message(line, texts) for line in lines)
    said = (Said(call, slot) for slot, call in calls(messages))
    return Recording(case, messages, texts, tuple(_heard(folder, n, each) for n, each in enumerate(said, 1)))


def _heard(folder: Path, n: int, said: Said) -> Said:
    prompt, reply = (folder / path for path in _paths(n, said))
    return Said(
        said.call, said.slot, _text(prompt) if prompt.exists() else None, _text(reply) if reply.exists() else None
    )


def _text(file: Path) -> str:
    return file.read_bytes().decode()


def _message(line: _Line, texts: Mapping[str, str]) -> Message:
    data = msgspec.json.format(bytes(line.fact), indent=-1)
    text = texts.get(envelope.referenced_sha256(data) or "")
    subject = msgspec.json.decode(data, type=_Identified).id
    return Message(subject, line.seq, line.stored_at, data, text=None if text is None else text.encode())
