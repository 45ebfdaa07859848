"""OpenTelemetry's names for calls of language models, in one place: they are in development and change."""

import json
from collections.abc import Mapping, Sequence
from typing import Final

from shared.telemetry.tracing import Attribute

RUN_ID: Final = "gen_ai.conversation.id"
"""All that is done for one run is one conversation."""


def workflow_span(name: str) -> tuple[str, dict[str, Attribute]]:
    """Return name and attributes of the span of a whole run."""
    return f"invoke_workflow {name}", {"gen_ai.operation.name": "invoke_workflow", "gen_ai.workflow.name": name}


def chat_span(
    *, run: str, agent: str, model: str, is_openai: bool, max_tokens: int, prompt: str = ""
) -> tuple[str, dict[str, Attribute]]:
    """Return name and attributes of the span of one call. `prompt` is the version of the prompt, not its text."""
    return f"chat {model}", {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai" if is_openai else "openai_compatible",
        "gen_ai.request.model": model,
        "gen_ai.request.max_tokens": max_tokens,
        "gen_ai.output.type": "json",
        "gen_ai.agent.name": agent,
        "gen_ai.prompt.name": prompt,
        RUN_ID: run,
    }


def usage_attributes(*, input_tokens: int, output_tokens: int) -> dict[str, Attribute]:
    """Return the attributes of a call's tokens."""
    return {"gen_ai.usage.input_tokens": input_tokens, "gen_ai.usage.output_tokens": output_tokens}


def content_attributes(asked: Sequence[Mapping[str, object]], replied: str) -> dict[str, Attribute]:
    """Return prompt and reply as attributes, for exports with content. An empty reply is left out."""
    attributes = {"gen_ai.input.messages": _messages([(str(one["role"]), str(one.get("content"))) for one in asked])}
    return {**attributes, "gen_ai.output.messages": _messages([("assistant", replied)])} if replied else {**attributes}


def _messages(messages_by_role: Sequence[tuple[str, str]]) -> str:
    """Return messages of role and text as JSON in OpenTelemetry's form."""
    messages = [{"role": role, "parts": [{"type": "text", "content": text}]} for role, text in messages_by_role]
    return json.dumps(messages, ensure_ascii=False)
