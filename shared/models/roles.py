"""Settings of each agent's model, with defaults from the price table. The judge uses the planner's model."""

from shared.models.context_window import UNKNOWN_CONTEXT, Agent
from shared.models.prices import OPENAI, Tariff, is_official, listed_context
from shared.runtime import clock
from shared.runtime.settings import Settings


def model_name(settings: Settings, agent: Agent) -> str:
    """Name of the agent's model."""
    return settings.writer_model if agent == "writer" else settings.planner_model


def tariff(settings: Settings, agent: Agent) -> Tariff:
    """Price of the agent's model: as set, else the list price at OpenAI itself, else unknown."""
    price = settings.writer_price if agent == "writer" else settings.planner_price
    return Tariff(model_name(settings, agent), OPENAI if is_official(settings.openai_base_url) else "", price)


def context_tokens(settings: Settings, agent: Agent) -> int:
    """Tokens of the agent's model for prompt and reply together: as set, else as listed for OpenAI, else
    `UNKNOWN_CONTEXT`.
    """
    configured = settings.writer_context if agent == "writer" else settings.planner_context
    if configured or not is_official(settings.openai_base_url):
        return configured or UNKNOWN_CONTEXT
    return listed_context(model_name(settings, agent), OPENAI, clock.now()) or UNKNOWN_CONTEXT
