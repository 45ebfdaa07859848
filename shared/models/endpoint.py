"""One endpoint of OpenAI's Chat Completions: OpenAI itself, llama.cpp, vLLM, Ollama, or a gateway.

Chat Completions is used because local servers ignore the text format of the Responses API. The SDK's retries are off:
attempts are counted and recorded by the run.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from httpx2 import AsyncClient, HTTPError
from openai import BadRequestError, OpenAIError, Timeout, omit
from openai.types.chat import ChatCompletionMessageParam as Message
from openai.types.shared_params import ResponseFormatJSONSchema
from pydantic import BaseModel, ValidationError

from shared.errors import Transient
from shared.models.client import create_client
from shared.models.completion import Chunk, Completion, StreamedCompletion, strict_schema, strict_schema_text
from shared.models.faults import TOO_LONG, step_error, timeout_error
from shared.models.prices import is_official

_CONNECT_S: Final = 10.0
_DONE: Final = "[DONE]"
OnText = Callable[[str], None]
"""Called with the whole reply so far, each time that more of it comes."""


@dataclass(frozen=True)
class _Dialect:
    """A variant of the request: name of the token limit, and `binding` if the schema is sent as `response_format`."""

    limit: Literal["max_tokens", "max_completion_tokens"]
    binding: bool


_OFFICIAL: Final = (_Dialect("max_completion_tokens", True), _Dialect("max_completion_tokens", False))
_COMPATIBLE: Final = (
    _Dialect("max_tokens", True),
    _Dialect("max_completion_tokens", True),
    _Dialect("max_tokens", False),
)
_NOT_THE_DIALECT: Final = (TOO_LONG, "content_filter")


@dataclass(frozen=True)
class Prompt:
    """Content of one call: the messages, the type of the reply, and its most tokens."""

    messages: Sequence[Message]
    form: type[BaseModel]
    max_tokens: int

    @property
    def messages_json(self) -> str:
        """The messages as JSON, for the transcript."""
        return json.dumps(self.messages, ensure_ascii=False, indent=1)

    @property
    def text(self) -> str:
        """All text that the model reads, the reply's schema included."""
        return "\n".join([*(str(message.get("content")) for message in self.messages), strict_schema_text(self.form)])


class ChatEndpoint:
    """Calls the model `name` at one endpoint. Without `api_key` a placeholder is sent, never a key from the
    environment.
    """

    def __init__(
        self,
        name: str,
        *,
        api_key: str | None,
        base_url: str | None,
        timeout_s: float,
        http_client: AsyncClient | None,
    ) -> None:
        self._name = name
        self._secret = api_key or ""
        self._timeout_s = timeout_s
        self._streams = True
        self._dialects = _OFFICIAL if is_official(base_url) else _COMPATIBLE
        self._client = create_client(
            api_key=api_key,
            base_url=base_url,
            timeout=Timeout(timeout_s, connect=min(timeout_s, _CONNECT_S)),
            http_client=http_client,
        )

    async def aclose(self) -> None:
        """Close connections."""
        await self._client.close()

    async def complete(self, prompt: Prompt, *, hear: OnText | None = None) -> bytes:
        """Return the body of the response. `hear` is called with the reply so far while it is streamed. Raises
        `StepError`s.

        A streamed response is put together as if it had come at once. Endpoints that do not stream are read whole.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._complete(prompt, hear)
        except TimeoutError as error:
            raise timeout_error(self._name) from error
        except OpenAIError as error:
            raise step_error(error, model=self._name, secret=self._secret) from error

    def completion(self, body: bytes) -> Completion:
        """Return the parsed body. Raises `Transient` if it is no chat completion."""
        try:
            return Completion.model_validate_json(body)
        except ValidationError as error:
            raise Transient("bad_response", f"The endpoint of {self._name} sent no chat completion.") from error

    def masked_text(self, body: bytes) -> str:
        """Return a body as text for the transcript, with the key masked, which an endpoint may repeat."""
        text = body.decode("utf-8", "replace")
        return text.replace(self._secret, "…") if self._secret else text

    async def _complete(self, prompt: Prompt, hear: OnText | None) -> bytes:
        """Stream if `hear` is given, and fall back for good to whole responses if the endpoint refuses to stream."""
        if hear is None or not self._streams:
            return await self._in_first_dialect(prompt, None)
        try:
            return await self._in_first_dialect(prompt, hear)
        except BadRequestError as error:
            if step_error(error, model=self._name).code in _NOT_THE_DIALECT:
                raise
        body = await self._in_first_dialect(prompt, None)
        self._streams = False
        return body

    async def _in_first_dialect(self, prompt: Prompt, hear: OnText | None) -> bytes:
        """Return the body in the first dialect that the endpoint accepts, which later calls begin with.

        A 400 costs nothing and has no common form, so the next dialect is tried. Raises the first dialect's error if
        all fail.
        """
        refusals: list[BadRequestError] = []
        for index, dialect in enumerate(self._dialects):
            try:
                body = await (self._post(prompt, dialect) if hear is None else self._stream(prompt, dialect, hear))
            except BadRequestError as error:
                refusals.append(error)
                if step_error(error, model=self._name).code in _NOT_THE_DIALECT:
                    break
            else:
                self._dialects = self._dialects[index:]
                return body
        raise refusals[0]

    async def _post(self, prompt: Prompt, dialect: _Dialect) -> bytes:
        # The raw response, because the parsed one is not checked: it may be a string, or lack its choices.
        """Return the raw body of a whole response."""
        response = await self._client.chat.completions.with_raw_response.create(
            model=self._name,
            messages=_messages(prompt, dialect),
            response_format=_response_format(prompt.form) if dialect.binding else omit,
            max_tokens=prompt.max_tokens if dialect.limit == "max_tokens" else omit,
            max_completion_tokens=prompt.max_tokens if dialect.limit == "max_completion_tokens" else omit,
        )
        return response.content

    async def _stream(self, prompt: Prompt, dialect: _Dialect, hear: OnText) -> bytes:
        """Return the body of a streamed response, or the raw body if the endpoint did not stream. Raises `Transient` if
        cut off.
        """
        creating = self._client.chat.completions.with_streaming_response.create(
            model=self._name,
            messages=_messages(prompt, dialect),
            response_format=_response_format(prompt.form) if dialect.binding else omit,
            max_tokens=prompt.max_tokens if dialect.limit == "max_tokens" else omit,
            max_completion_tokens=prompt.max_tokens if dialect.limit == "max_completion_tokens" else omit,
            stream=True,
            stream_options={"include_usage": True},
        )
        async with creating as response:
            is_stream = "text/event-stream" in response.headers.get("Content-Type", "")
            try:
                return await (self._listen(response.iter_lines(), hear) if is_stream else response.read())
            except HTTPError as error:
                raise Transient("bad_response", f"The endpoint of {self._name} broke off its reply.") from error

    async def _listen(self, lines: AsyncIterator[str], hear: OnText) -> bytes:
        """Call `hear` with the text so far after each event; return the completion as a body. Raises `Transient` if
        incomplete.
        """
        streamed = StreamedCompletion()
        async for line in lines:
            data = line.removeprefix("data:").strip() if line.startswith("data:") else ""
            if data and data != _DONE:
                streamed.add(self._chunk(data))
                hear(streamed.text)
        if not streamed.is_whole:
            raise Transient("bad_response", f"The endpoint of {self._name} broke off its reply.")
        return streamed.completion().model_dump_json().encode()

    def _chunk(self, data: str) -> Chunk:
        """Return one parsed event. Raises `Transient` if it is malformed."""
        try:
            return Chunk.model_validate_json(data)
        except ValidationError as error:
            raise Transient("bad_response", f"The endpoint of {self._name} sent no chat completion.") from error


def _messages(prompt: Prompt, dialect: _Dialect) -> Sequence[Message]:
    """The messages; without a binding schema, with the instruction for the reply's form."""
    return prompt.messages if dialect.binding else [*prompt.messages, user_message(schema_instruction(prompt.form))]


def schema_instruction(form: type[BaseModel]) -> str:
    """The instruction to reply in this form, for a model without a binding schema."""
    return f"Reply with one JSON object of this schema and nothing else: {strict_schema_text(form)}"


def user_message(text: str) -> Message:
    """A message of the role `user`."""
    return {"role": "user", "content": text}


def _response_format(form: type[BaseModel]) -> ResponseFormatJSONSchema:
    """The strict schema of the reply as `response_format`."""
    return {
        "type": "json_schema",
        "json_schema": {"name": form.__name__, "schema": strict_schema(form), "strict": True},
    }
