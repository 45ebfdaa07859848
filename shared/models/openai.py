"""Answers of a model behind an endpoint: the reply is checked, repaired, corrected once, or replaced by the rule's.

Every call that may be charged is recorded, also if its reply could not be used.
"""

import asyncio
from typing import Final

from httpx2 import AsyncClient
from msgspec.structs import replace
from openai.types.chat import ChatCompletionMessageParam as Message
from pydantic import BaseModel

from shared.contracts.evidence import Call, usage_of
from shared.contracts.tokens import Tokens, estimate_tokens
from shared.errors import StepError, Terminal
from shared.models.completion import Completion, Unusable, Usable, parse_completion
from shared.models.endpoint import ChatEndpoint, Prompt, schema_instruction, user_message
from shared.models.faults import MAY_BE_PAID, MAY_BE_TOO_LONG, TOO_LONG
from shared.models.offline import OFFLINE
from shared.models.prices import Tariff, is_official
from shared.models.protocol import Answer, Ask, Reply
from shared.models.spans import CallSpan
from shared.runtime import clock, transcript

_CALLS: Final = 2
"""The answer, and one correction."""
_MAX_ECHO: Final = 2_000
"""Characters of a reply that its correction quotes: enough to see the fault, not a runaway string again."""


class OpenAIModel:
    """Answers with the named model, and by rule, marked as degraded, if its replies stay unusable.

    An invalid reply that cannot be repaired is corrected once, with the fault quoted to the model; a refusal is not. A
    prompt too long for the model is shortened once. A call that could exceed the budget, or has no known price while
    there is a budget, is not made.
    """

    def __init__(
        self,
        name: str,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout_s: float = 120.0,
        http_client: AsyncClient | None = None,
        tariff: Tariff | None = None,
    ) -> None:
        self._name = name
        self._tariff = tariff or Tariff(name)
        self._is_openai = is_official(base_url)
        self._endpoint = ChatEndpoint(
            name, api_key=api_key, base_url=base_url, timeout_s=timeout_s, http_client=http_client
        )

    async def answer(self, ask: Ask[Reply]) -> Answer[Reply]:
        """Return the model's answer, else the answer by rule. Raises `StepError` with the calls made."""
        exchange = _Exchange(self._name, self._endpoint, self._tariff, is_openai=self._is_openai)
        try:
            return await exchange.answer(ask)
        except StepError as error:
            error.calls = tuple(exchange.calls)
            raise

    async def aclose(self) -> None:
        """Close connections."""
        await self._endpoint.aclose()


class _Exchange:
    """The calls for one answer."""

    def __init__(self, name: str, endpoint: ChatEndpoint, tariff: Tariff, *, is_openai: bool) -> None:
        self._name = name
        self._endpoint = endpoint
        self._tariff = tariff
        self._is_openai = is_openai
        self.calls: list[Call] = []

    async def answer(self, ask: Ask[Reply]) -> Answer[Reply]:
        """Return the answer; retry with the shorter prompt if the first is too long, then answer by rule. Raises
        `StepError`.
        """
        try:
            return await self._converse(ask)
        except Terminal as error:
            if error.code not in MAY_BE_TOO_LONG or ask.shorter is None:
                raise
            shorter = ask.shorter()
        try:
            return await self._converse(shorter)
        except Terminal as error:
            if error.code != TOO_LONG:
                raise
            return self._by_rule(
                ask, f"{self._name} has a context too small for the prompt, even with half of its material"
            )

    async def _converse(self, ask: Ask[Reply]) -> Answer[Reply]:
        """Ask, and ask once more with the fault of the reply; then answer by rule."""
        messages: list[Message] = [{"role": "system", "content": ask.system}, user_message(ask.user)]
        faults: list[Unusable] = []
        while len(faults) < _CALLS:
            prompt = Prompt(messages, ask.reply, ask.max_tokens)
            if beyond := self._beyond(ask, prompt):
                return self._by_rule(ask, "; ".join([*self._fault_text(faults), beyond]))
            completion, reply = await self._call(ask, prompt)
            if isinstance(reply, Usable):
                return Answer(reply.value, self._name, usage_of(self.calls), calls=tuple(self.calls))
            faults.append(reply)
            if reply.reading == "refused":
                break
            messages = [*messages, *_correction(completion.text, reply, ask.reply)]
        return self._by_rule(ask, *self._fault_text(faults))

    def _beyond(self, ask: Ask[Reply], prompt: Prompt) -> str | None:
        """Return the reason why the budget does not allow this call, or `None`."""
        if ask.budget_usd is None:
            return None
        cost = self._tariff.cost(_expected(prompt), clock.now())
        if cost is None:
            return f"no price is known for {self._name}, so the limit on the run's cost could not be kept"
        left = ask.budget_usd - (usage_of(self.calls).cost_usd or 0.0)
        if cost <= left:
            return None
        what = "correcting it" if self.calls else f"asking {self._name}"
        return f"{what} could cost ${cost:.4f}, and ${max(0.0, left):.4f} is left of the run's limit"

    async def _call(self, ask: Ask[Reply], prompt: Prompt) -> tuple[Completion, Usable[Reply] | Unusable]:
        """Make one call, record it, and return the response with the reply. Raises `StepError`."""
        began = asyncio.get_running_loop().time()
        call, body = Call(ask.agent, self._name, ask.prompt, 0, 0), b""
        expected = _expected(prompt)
        tracing = CallSpan(self._name, ask, prompt, is_openai=self._is_openai)
        try:
            body = await self._endpoint.complete(prompt, hear=ask.hear)
            completion = self._endpoint.completion(body)
        except StepError as error:
            tracing.failed(error.code)
            if error.code in MAY_BE_PAID:
                unread = replace(call, reading=error.code, estimated=True)
                self._record(unread, expected, prompt=prompt, body=body, began=began)
            raise
        reply = parse_completion(completion, ask.reply)
        tokens, estimated = completion.tokens(expected)
        tracing.answered(completion.text, tokens, reply.reading)
        made = replace(call, reading=reply.reading, estimated=estimated)
        self._record(made, tokens, prompt=prompt, body=body, began=began)
        return completion, reply

    def _record(self, call: Call, tokens: Tokens, *, prompt: Prompt, body: bytes, began: float) -> None:
        """Append a call with its tokens, cost, seconds, and the hashes of prompt and response in the transcript."""
        made = replace(
            call,
            input_tokens=tokens.input,
            output_tokens=tokens.output,
            cost_usd=self._tariff.cost(tokens, clock.now()),
            duration_s=round(asyncio.get_running_loop().time() - began, 3),
            prompt_sha256=transcript.record_text(prompt.messages_json),
            reply_sha256=transcript.record_text(self._endpoint.masked_text(body)) if body else "",
        )
        self.calls.append(made)

    def _fault_text(self, faults: list[Unusable]) -> list[str]:
        """Return the faults of the replies as a list of one sentence; empty if there were none."""
        if not faults:
            return []
        kinds = ", then ".join(fault.reading for fault in faults)
        return [f"the reply of {self._name} could not be used ({kinds}: {faults[-1].reason})"]

    def _by_rule(self, ask: Ask[Reply], why: str) -> Answer[Reply]:
        """Return the answer by rule, degraded with the reason."""
        calls = tuple(self.calls)
        return Answer(ask.by_rule(), OFFLINE, usage_of(calls), degraded=f"Made by rule, because {why}.", calls=calls)


def _expected(prompt: Prompt) -> Tokens:
    """Return an upper estimate of a call's tokens."""
    return Tokens(estimate_tokens(prompt.text), prompt.max_tokens)


def _correction(reply: str, unusable: Unusable, form: type[BaseModel]) -> list[Message]:
    """Return the messages that quote an unusable reply, cut, and ask for a corrected one."""
    echo: list[Message] = [{"role": "assistant", "content": reply[:_MAX_ECHO]}] if reply.strip() else []
    fault = f"That reply cannot be used: {unusable.reason}. Reply again, complete and corrected."
    return [*echo, user_message(f"{fault} {schema_instruction(form)}")]
