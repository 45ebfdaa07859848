"""Responses of an endpoint, judged: a usable reply, or the fault. Pure.

Endpoints promise a JSON schema and keep the promise more or less: reasoning stands before the JSON, fences wrap it,
commas are missing, the limit cuts it off. A reply counts only once pydantic accepts it, as it came or repaired.
"""

import json
from dataclasses import dataclass
from typing import Final, Generic, Literal

import json_repair
from openai import pydantic_function_tool
from pydantic import BaseModel, ValidationError

from shared.contracts.tokens import Tokens, estimate_tokens
from shared.models.protocol import Reply

_MAX_FAULTS_QUOTED: Final = 5
_MAX_REPAIRED: Final = 50_000
"""Characters. A longer text is a runaway reply, not worth the time of a repair."""


class _Message(BaseModel):
    """The message of a choice."""

    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    """One choice of a response."""

    message: _Message
    finish_reason: str | None = None


class _Details(BaseModel):
    """Details of the input tokens."""

    cached_tokens: int | None = None


class _Tokens(BaseModel):
    """Token counts of a response."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None


class Completion(BaseModel):
    """The part of a Chat Completions response that is used; other fields are ignored."""

    choices: list[_Choice]
    usage: _Tokens | None = None

    @property
    def text(self) -> str:
        """The text of the first choice, `""` if there is none."""
        return (self.choices[0].message.content or "") if self.choices else ""

    def tokens(self, expected: Tokens) -> tuple[Tokens, bool]:
        """Return the tokens of the call, and True if they are an estimate: `expected` input, or output by the text's
        length.
        """
        counted = self.usage or _Tokens()
        into, out = counted.prompt_tokens, counted.completion_tokens
        cached = (counted.prompt_tokens_details or _Details()).cached_tokens or 0
        input_ = expected.input if into is None else into
        output = estimate_tokens(self.text) if out is None else out
        return Tokens(input_, output, min(cached, input_)), into is None or out is None


class _Delta(BaseModel):
    """The part of a message in one event."""

    content: str | None = None
    refusal: str | None = None


class _Part(BaseModel):
    """One choice in one event."""

    index: int = 0
    delta: _Delta = _Delta()
    finish_reason: str | None = None


class Chunk(BaseModel):
    """The part of a streamed response's event that is used."""

    choices: list[_Part] = []
    usage: _Tokens | None = None
    error: object = None


class StreamedCompletion:
    """A streamed response, as far as it has come. `is_broken` is True once the endpoint reported an error."""

    def __init__(self) -> None:
        self.text = ""
        self.is_broken = False
        """True once the endpoint reported an error."""
        self._refusal = ""
        self._finish: str | None = None
        self._usage: _Tokens | None = None

    def add(self, chunk: Chunk) -> None:
        """Add the next event. Only the first choice is read."""
        self.is_broken = self.is_broken or chunk.error is not None
        self._usage = chunk.usage or self._usage
        for part in chunk.choices:
            if part.index == 0:
                self.text += part.delta.content or ""
                self._refusal += part.delta.refusal or ""
                self._finish = part.finish_reason or self._finish

    @property
    def is_whole(self) -> bool:
        """True if the endpoint reported the end and no error."""
        return self._finish is not None and not self.is_broken

    def completion(self) -> Completion:
        """Return the response as if it had come at once."""
        message = _Message(content=self.text, refusal=self._refusal or None)
        return Completion(choices=[_Choice(message=message, finish_reason=self._finish)], usage=self._usage)


Fault = Literal["empty", "thinking", "refused", "truncated", "malformed"]


@dataclass(frozen=True)
class Usable(Generic[Reply]):
    """A reply of the wanted type, as it came (`ok`) or with its JSON `repaired`."""

    value: Reply
    reading: Literal["ok", "repaired"]


@dataclass(frozen=True)
class Unusable:
    """A reply that cannot be used: the kind of fault, and a clause that explains it to the model and to people."""

    reading: Fault
    reason: str


def parse_completion(completion: Completion, form: type[Reply]) -> Usable[Reply] | Unusable:
    """Return the reply of type `form`, or its fault. Never raises."""
    if not completion.choices:
        return Unusable("empty", "it was empty")
    choice = completion.choices[0]
    if choice.message.refusal or choice.finish_reason == "content_filter":
        return Unusable("refused", "the model refused to answer")
    if choice.finish_reason == "length":
        return Unusable("truncated", "it was cut off at the token limit; write less")
    if not completion.text.strip():
        return Unusable("empty", "it was empty")
    text = without_thinking(completion.text)
    return _validate(text, form) if text.strip() else Unusable("thinking", "it was reasoning and no reply")


def without_thinking(text: str) -> str:
    """Return `text` without the reasoning before it; `""` if the reasoning has no end.

    Text that begins with `{` stays as it is, since a quotation in it may contain `<think>`.
    """
    if text.lstrip().startswith("{"):
        return text
    thinking, ended, rest = text.partition("</think>")
    if ended:
        return rest
    return "" if thinking.lstrip().startswith("<think>") else text


def strict_schema(form: type[BaseModel]) -> dict[str, object]:
    """Return the JSON schema of `form` for strict mode: every property required, no others, all limits kept."""
    # The one public way to the SDK's strict schemas; no tool is called.
    return pydantic_function_tool(form)["function"].get("parameters", {})


def strict_schema_text(form: type[BaseModel]) -> str:
    """Return the strict schema as compact JSON, for a prompt."""
    return json.dumps(strict_schema(form), ensure_ascii=False, separators=(",", ":"))


def _validate(text: str, form: type[Reply]) -> Usable[Reply] | Unusable:
    """Return the reply in `text` from the first `{` to the last `}`, repaired if need be, or `malformed`."""
    start, end = text.find("{"), text.rfind("}") + 1
    try:
        return Usable(form.model_validate_json(text[start:end] if start >= 0 and end > start else text), "ok")
    except ValidationError as error:
        repaired = _repair(text[start:], form) if start >= 0 else None
        return Usable(repaired, "repaired") if repaired else Unusable("malformed", _describe_faults(error))


def _repair(text: str, form: type[Reply]) -> Reply | None:
    """Return the reply after repairing its JSON (quotes, commas, brackets), or `None`. Missing fields are
    not made up.
    """
    if len(text) > _MAX_REPAIRED:
        return None
    try:
        return form.model_validate(json_repair.loads(text, skip_json_loads=True))
    except (ValueError, RecursionError):
        return None


def _describe_faults(error: ValidationError) -> str:
    """Return the first faults of a reply as one clause, each with its field."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    faults = [f"{'.'.join(map(str, each['loc'])) or 'the reply'}: {each['msg']}" for each in found]
    return "; ".join(faults[:_MAX_FAULTS_QUOTED])
