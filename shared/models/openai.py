"""Any endpoint that speaks OpenAI's Chat Completions: OpenAI itself, llama.cpp, vLLM, Ollama, a gateway.

Built on Chat Completions because local servers ignore the Responses API's text format. The SDK's
own retries are off: an attempt is the run's, recorded and counted there.
"""

import asyncio
from dataclasses import dataclass
from typing import Final, Literal

from httpx2 import AsyncClient
from openai import AsyncOpenAI, BadRequestError, OpenAIError, Timeout, omit
from openai.types.chat import ChatCompletionMessageParam as Message
from openai.types.shared_params import ResponseFormatJSONSchema
from pydantic import BaseModel, ValidationError

from shared.contracts.evidence import Usage
from shared.errors import Transient
from shared.models.completion import Completion, Unusable, read, schema, schema_text
from shared.models.faults import step_error, timed_out
from shared.models.offline import OFFLINE
from shared.models.protocol import Answer, Ask, Reply

OPENAI_URL: Final = "https://api.openai.com/v1"
_NO_KEY: Final = "none"
_CONNECT_S: Final = 10.0
_MAX_ECHO: Final = 2_000
"""Characters of a reply that its correction quotes: enough to see the fault, not a runaway string again."""


@dataclass(frozen=True)
class _Dialect:
    """What an endpoint must understand: how the token limit is called, and whether the schema binds."""

    limit: Literal["max_tokens", "max_completion_tokens"]
    binding: bool


_OFFICIAL: Final = (_Dialect("max_completion_tokens", True), _Dialect("max_completion_tokens", False))
_COMPATIBLE: Final = (
    _Dialect("max_tokens", True),
    _Dialect("max_completion_tokens", True),
    _Dialect("max_tokens", False),
)
_NOT_THE_DIALECT: Final = ("context_length_exceeded", "content_filter")


class OpenAIModel:
    """Answers with the named model, and by rule, marked as degraded, where its reply stays unusable.

    A reply that fails the check is corrected once, with the fault quoted to the model. A refusal is
    not argued with. Without an `api_key` a placeholder is sent, never one from the environment.
    """

    def __init__(
        self,
        name: str,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout_s: float = 120.0,
        http_client: AsyncClient | None = None,
    ) -> None:
        self._name = name
        self._secret = api_key or ""
        self._timeout_s = timeout_s
        self._dialects = _COMPATIBLE if base_url and base_url.rstrip("/") != OPENAI_URL else _OFFICIAL
        self._client = AsyncOpenAI(
            api_key=api_key or _NO_KEY,
            base_url=base_url or OPENAI_URL,
            timeout=Timeout(timeout_s, connect=min(timeout_s, _CONNECT_S)),
            max_retries=0,
            http_client=http_client,
        )

    async def answer(self, ask: Ask[Reply]) -> Answer[Reply]:
        """The model's own answer, after one correction at most; else the answer by rule. `usage` covers all calls."""
        messages = _opening(ask)
        completion = await self._complete(ask, messages)
        first = read(completion, ask.reply)
        if not isinstance(first, Unusable):
            return Answer(first, self._name, completion.cost)
        if first.fault == "refused":
            return self._by_rule(ask, completion.cost, [first])
        corrected = await self._complete(ask, [*messages, *_correction(completion.text, first, ask.reply)])
        usage = completion.cost.plus(corrected.cost)
        second = read(corrected, ask.reply)
        if isinstance(second, Unusable):
            return self._by_rule(ask, usage, [first, second])
        return Answer(second, self._name, usage)

    async def aclose(self) -> None:
        """Let go of connections."""
        await self._client.close()

    def _by_rule(self, ask: Ask[Reply], usage: Usage, faults: list[Unusable]) -> Answer[Reply]:
        kinds = ", then ".join(fault.fault for fault in faults)
        why = f"The reply of {self._name} could not be used ({kinds}: {faults[-1].reason}), so this was made by rule."
        return Answer(ask.by_rule(), OFFLINE, usage, degraded=why)

    async def _complete(self, ask: Ask[Reply], messages: list[Message]) -> Completion:
        try:
            async with asyncio.timeout(self._timeout_s):
                body = await self._in_some_dialect(ask, messages)
            return Completion.model_validate_json(body)
        except TimeoutError as error:
            raise timed_out(self._name) from error
        except OpenAIError as error:
            raise step_error(error, model=self._name, secret=self._secret) from error
        except ValidationError as error:
            raise Transient("bad_response", f"The endpoint of {self._name} sent no chat completion.") from error

    async def _in_some_dialect(self, ask: Ask[Reply], messages: list[Message]) -> bytes:
        """The response in the first dialect that the endpoint takes, which is the one to begin with from then on.

        A 400 costs nothing and names its reason differently everywhere, so the next dialect is simply
        tried. What the endpoint said of the first is what a person gets to read.
        """
        refusals: list[BadRequestError] = []
        for index, dialect in enumerate(self._dialects):
            try:
                body = await self._post(ask, messages, dialect)
            except BadRequestError as error:
                refusals.append(error)
                if error.code in _NOT_THE_DIALECT:
                    break
            else:
                self._dialects = self._dialects[index:]
                return body
        raise refusals[0]

    async def _post(self, ask: Ask[Reply], messages: list[Message], dialect: _Dialect) -> bytes:
        # The raw response, because the parsed one is not checked: it may be a string, or lack its choices.
        response = await self._client.chat.completions.with_raw_response.create(
            model=self._name,
            messages=messages if dialect.binding else [*messages, _user(_form(ask.reply))],
            response_format=_response_format(ask.reply) if dialect.binding else omit,
            max_tokens=ask.max_tokens if dialect.limit == "max_tokens" else omit,
            max_completion_tokens=ask.max_tokens if dialect.limit == "max_completion_tokens" else omit,
        )
        return response.content


def _opening(ask: Ask[Reply]) -> list[Message]:
    return [{"role": "system", "content": ask.system}, _user(ask.user)]


def _correction(reply: str, unusable: Unusable, form: type[BaseModel]) -> list[Message]:
    echo: list[Message] = [{"role": "assistant", "content": reply[:_MAX_ECHO]}] if reply.strip() else []
    fault = f"That reply cannot be used: {unusable.reason}. Reply again, complete and corrected."
    return [*echo, _user(f"{fault} {_form(form)}")]


def _form(form: type[BaseModel]) -> str:
    return f"Reply with one JSON object of this schema and nothing else: {schema_text(form)}"


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def _response_format(form: type[BaseModel]) -> ResponseFormatJSONSchema:
    return {
        "type": "json_schema",
        "json_schema": {"name": form.__name__, "schema": schema(form), "strict": True},
    }
