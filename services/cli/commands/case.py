"""A case for evaluations: one run as a folder of plain files, with its facts, texts and model calls.

case.json     the run, and the expectations on it, which people edit
facts.json    every fact of the run, in order
texts/        the frozen texts, each named by its SHA-256
calls/        the prompt of each model call in readable form, and its response as received
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
    """Content of `case.json`. `facts` are regular expressions of what the report should state.

    `context` has the size of the context window of each agent's model, in tokens. It determines the size of a prompt.
    """

    about: str = ""
    run: str
    question: str
    outcome: str
    degraded: bool
    facts: tuple[str, ...] = ()
    context: dict[str, int] = {}


class RecordedCall(Struct, frozen=True):
    """A model call with its prompt and reply, each `None` if it was not stored, and the slot of its fact."""

    call: Call
    slot: str
    prompt: str | None = None
    reply: str | None = None


class Recording(Struct, frozen=True):
    """A recorded run: its case, its messages as in the log, the texts by SHA-256, and its model calls in order."""

    case: Case
    messages: tuple[Message, ...]
    texts: Mapping[str, str]
    calls: tuple[RecordedCall, ...] = ()


class _Line(Struct, frozen=True):
    """A message in `facts.json`."""

    seq: int
    stored_at: datetime
    fact: Raw


class _Identified(Struct, frozen=True):
    """The id of a CloudEvent, which is the subject of its message."""

    id: str


def decode_fact(message: Message) -> Fact:
    """The fact in a message that is loaded whole. Raises `ContractError`."""
    return envelope.decode(message.data, message.text).fact


def referenced_texts(messages: Sequence[Message]) -> Iterator[str]:
    """The SHA-256 of each text that the facts need, data and sources. May repeat one. Raises `ContractError`."""
    for message in messages:
        if reference := envelope.referenced_sha256(message.data):
            yield reference
        match decode_fact(message):
            case FetchFound(sources=sources):
                yield from (source.sha256 for source in sources)
            case TaskIssued(task=SynthesizeTask(findings=findings)):
                yield from (source.sha256 for finding in findings for source in finding.sources)
            case _:
                pass


def model_calls(messages: Sequence[Message]) -> Iterator[tuple[str, Call]]:
    """Every model call after the path of its fact's slot, in the order of the log. Raises `ContractError`."""
    for message in messages:
        slot = parse_slot(message.subject)
        assert slot
        yield from ((slot.path, call) for call in calls_of(decode_fact(message)))


def readable_prompt(prompt: str) -> str:
    """The messages of a prompt that is stored as JSON, each after a line with its role."""
    messages = msgspec.json.decode(prompt, type=list[dict[str, str]])
    return "\n".join(f"=== {message.get('role')}\n{message.get('content')}\n" for message in messages)


def files(recording: Recording) -> dict[str, str]:
    """The content of each file of the case by its path in the folder."""
    lines = [_Line(each.seq, each.time, Raw(each.data)) for each in recording.messages]
    content = {CASE: pretty(recording.case), FACTS: pretty(lines)}
    content |= {f"{_TEXTS}/{sha256}.txt": text for sha256, text in recording.texts.items()}
    for n, call in enumerate(recording.calls, 1):
        content |= {path: text for path, text in zip(_paths(n, call), (call.prompt, call.reply), strict=True) if text}
    return content


def _paths(n: int, call: RecordedCall) -> tuple[str, str]:
    """Paths of the prompt and the reply of the `n`th call."""
    stem = f"{_CALLS}/{n:02}.{call.slot}.{call.call.prompt.partition('.')[0] or call.call.agent}"
    return f"{stem}.prompt.txt", f"{stem}.reply.json"


def pretty(value: object) -> str:
    """The value as indented JSON, ended by a newline."""
    return msgspec.json.format(msgspec.json.encode(value), indent=1).decode() + "\n"


def read(folder: Path) -> Recording:
    """Read the case in a folder. Raises `OSError`, `msgspec.DecodeError` or `ContractError` if it is not valid."""
    case = msgspec.json.decode((folder / CASE).read_bytes(), type=Case)
    texts = {file.stem: file.read_bytes().decode() for file in sorted((folder / _TEXTS).glob("*.txt"))}
    lines = msgspec.json.decode((folder / FACTS).read_bytes(), type=list[_Line])
    messages = tuple(_message(line, texts) for line in lines)
    calls = (_read_call(folder, n, slot, call) for n, (slot, call) in enumerate(model_calls(messages), 1))
    return Recording(case, messages, texts, tuple(calls))


def _read_call(folder: Path, n: int, slot: str, call: Call) -> RecordedCall:
    """The `n`th call with the prompt and reply in the folder, as far as they exist."""
    paths = (folder / path for path in _paths(n, RecordedCall(call, slot)))
    prompt, reply = (path.read_bytes().decode() if path.exists() else None for path in paths)
    return RecordedCall(call, slot, prompt, reply)


def _message(line: _Line, texts: Mapping[str, str]) -> Message:
    """The message of a line, with the text that its data refers to, if any."""
    data = msgspec.json.format(bytes(line.fact), indent=-1)
    text = texts.get(envelope.referenced_sha256(data) or "")
    subject = msgspec.json.decode(data, type=_Identified).id
    return Message(subject, line.seq, line.stored_at, data, text=None if text is None else text.encode())
