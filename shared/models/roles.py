"""What the operator's settings say of each agent's model, with what is known of it."""

from shared.models.prices import OPENAI, Tariff, is_official, listed_context
from shared.models.room import UNKNOWN_CONTEXT, Agent
from shared.runtime import clock
from shared.runtime.settings import Settings


def name(settings: Settings, agent: Agent) -> str:
    """What the agent's model is called."""
    return settings.planner_model if agent == "planner" else settings.writer_model


def tariff(settings: Settings, agent: Agent) -> Tariff:
    """What the agent's model costs: listed prices are those of OpenAI itself; of others the operator has to say it."""
    price = settings.planner_price if agent == "planner" else settings.writer_price
    return Tariff(name(settings, agent), OPENAI if is_official(settings.openai_base_url) else "", price)


def context(settings: Settings, agent: Agent) -> int:
    """How many tokens the agent's model reads and writes together: as was set, else as is known of it."""
    said = settings.planner_context if agent == "planner" else settings.writer_context
    if said or not is_official(settings.openai_base_url):
        return said or UNKNOWN_CONTEXT
    return listed_context(name(settings, agent), OPENAI, clock.now()) or UNKNOWN_CONTEXT
