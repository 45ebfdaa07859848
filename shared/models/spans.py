"""Spans of model calls, collected in the current trace scope. Without one they cost a lookup."""

from collections.abc import Mapping
from typing import Any, Final

from shared.contracts.tokens import Tokens
from shared.models.endpoint import Prompt
from shared.models.protocol import Ask
from shared.runtime import clock
from shared.telemetry import genai
from shared.telemetry.tracing import CURRENT_SCOPE, Attribute, Span

_USABLE: Final = ("ok", "repaired")


class CallSpan:
    """The span of one call in progress."""

    def __init__(self, model: str, ask: Ask[Any], prompt: Prompt, *, is_openai: bool) -> None:
        self._model = model
        self._ask = ask
        self._prompt = prompt
        self._is_openai = is_openai
        self._within = CURRENT_SCOPE.get()
        self._began = clock.now()

    def failed(self, code: str) -> None:
        """End the span of a call without a response, with the code of its error."""
        self._append({}, "", code)

    def answered(self, text: str, tokens: Tokens, reading: str) -> None:
        """End the span of a call with a response. Its error is the reading unless the reply could be used."""
        used = genai.usage_attributes(input_tokens=tokens.input, output_tokens=tokens.output)
        self._append(used | {"dossier.reading": reading}, text, "" if reading in _USABLE else reading)

    def _append(self, more: Mapping[str, Attribute], text: str, error: str) -> None:
        """Append the span to the current scope, with prompt and reply if the scope allows content."""
        within = self._within
        if within is None or within.spans is None:
            return
        name, attributes = genai.chat_span(
            run=within.run,
            agent=self._ask.agent,
            model=self._model,
            is_openai=self._is_openai,
            max_tokens=self._prompt.max_tokens,
            prompt=self._ask.prompt,
        )
        content = genai.content_attributes(self._prompt.messages, text) if within.content else {}
        span = Span(
            name=name,
            kind="client",
            began=self._began,
            ended=clock.now(),
            attributes={**attributes, **more, **content},
            error=error,
        )
        within.spans.append(span)
