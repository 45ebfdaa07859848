"""What an endpoint answered, judged: a reply that can be used, or why it cannot. Pure.

Endpoints promise a JSON schema and keep the promise more or less: reasoning leaks in front of the
JSON, fences wrap it, the limit cuts it off. So a reply counts only once pydantic has taken it.
"""

import json
from dataclasses import dataclass
from typing import Final, Literal

from openai import pydantic_function_tool
from pydantic import BaseModel, ValidationError

from shared.contracts.evidence import Usage
from shared.models.protocol import Reply

_MAX_FAULTS_QUOTED: Final = 5


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Tokens(BaseModel):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Completion(BaseModel):
    """The part of a Chat Completions response that is read here. Every endpoint's own additions are ignored."""

    choices: list[_Choice]
    usage: _Tokens | None = None

    @property
    def text(self) -> str:
        """What the model wrote, as it wrote it."""
        return (self.choices[0].message.content or "") if self.choices else ""

    @property
    def cost(self) -> Usage:
        """One call and its tokens; no tokens where the endpoint counts none."""
        tokens = self.usage or _Tokens()
        return Usage(1, tokens.prompt_tokens or 0, tokens.completion_tokens or 0)


Fault = Literal["empty", "refused", "truncated", "malformed"]


@dataclass(frozen=True)
class Unusable:
    """A reply that cannot be used: which way, and a clause that tells the model and a person what is wrong with it."""

    fault: Fault
    reason: str


def read(completion: Completion, form: type[Reply]) -> Reply | Unusable:
    """The reply in its form, checked, or why there is none."""
    if not completion.choices:
        return Unusable("empty", "it was empty")
    choice = completion.choices[0]
    if choice.message.refusal or choice.finish_reason == "content_filter":
        return Unusable("refused", "the model refused to answer")
    if choice.finish_reason == "length":
        return Unusable("truncated", "it was cut off at the token limit; write less")
    text = without_thinking(completion.text)
    if not text.strip():
        return Unusable("empty", "it was empty")
    return _checked(text, form)


def without_thinking(text: str) -> str:
    """`text` without the reasoning before it; nothing where the reasoning never ended.

    Text that begins with the JSON stays as it is, since a quotation in it may well speak of `<think>`.
    """
    if text.lstrip().startswith("{"):
        return text
    thinking, ended, rest = text.partition("</think>")
    if ended:
        return rest
    return "" if thinking.lstrip().startswith("<think>") else text


def schema(form: type[BaseModel]) -> dict[str, object]:
    """The JSON schema of `form` as strict mode wants it: every property required, none besides; all limits kept."""
    # The one public way to the SDK's strict schemas; no tool is called.
    return pydantic_function_tool(form)["function"].get("parameters", {})


def schema_text(form: type[BaseModel]) -> str:
    """The same schema, to be read by a model that is not held to it."""
    return json.dumps(schema(form), ensure_ascii=False, separators=(",", ":"))


def _checked(text: str, form: type[Reply]) -> Reply | Unusable:
    start, end = text.find("{"), text.rfind("}") + 1
    try:
        return form.model_validate_json(text[start:end] if start >= 0 and end > start else text)
    except ValidationError as error:
        return Unusable("malformed", _faults(error))


def _faults(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_input=False, include_context=False)
    told = [f"{'.'.join(map(str, each['loc'])) or 'the reply'}: {each['msg']}" for each in found]
    return "; ".join(told[:_MAX_FAULTS_QUOTED])
