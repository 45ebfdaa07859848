"""Calls of a model as spans, for whoever takes the spans of what is being done. Elsewhere they cost a look."""

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
    """One call while it is under way."""

    def __init__(self, model: str, ask: Ask[Any], prompt: Prompt, *, is_openai: bool) -> None:
        self._model = model
        self._ask = ask
        self._prompt = prompt
        self._is_openai = is_openai
        self._within = CURRENT_SCOPE.get()
        self._began = clock.now()

    def failed(self, code: str) -> None:
        """It brought nothing."""
        self._tell({}, "", code)

    def answered(self, text: str, tokens: Tokens, reading: str) -> None:
        """It brought this, of some use or of none."""
        used = genai.usage_attributes(input_tokens=tokens.input, output_tokens=tokens.output)
        self._tell(used | {"dossier.reading": reading}, text, "" if reading in _USABLE else reading)

    def _tell(self, more: Mapping[str, Attribute], text: str, error: str) -> None:
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
        said = genai.content_attributes(self._prompt.messages, text) if within.content else {}
        span = Span(
            name=name,
            kind="client",
            began=self._began,
            ended=clock.now(),
            attributes={**attributes, **more, **said},
            error=error,
        )
        within.spans.append(span)
