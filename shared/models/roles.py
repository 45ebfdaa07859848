"""What the operator's settings say of each agent's model, with what is known of it. The judge's is the planner's."""

from shared.models.context_window import UNKNOWN_CONTEXT, Agent
from shared.models.prices import OPENAI, Tariff, is_official, listed_context
from shared.runtime import clock
from shared.runtime.settings import Settings


def model_name(settings: Settings, agent: Agent) -> str:
    """What the agent's model is called."""
    return settings.writer_model if agent == "writer" else settings.planner_model


def tariff(settings: Settings, agent: Agent) -> Tariff:
    """What the agent's model costs: listed prices are those of OpenAI itself; of others the operator has to say it."""
    price = settings.writer_price if agent == "writer" else settings.planner_price
    return Tariff(model_name(settings, agent), OPENAI if is_official(settings.openai_base_url) else "", price)


def context_tokens(settings: Settings, agent: Agent) -> int:
    """How many tokens the agent's model reads and writes together: as was set, else as is known of it."""
    said = settings.writer_context if agent == "writer" else settings.planner_context
    if said or not is_official(settings.openai_base_url):
        return said or UNKNOWN_CONTEXT
    return listed_context(model_name(settings, agent), OPENAI, clock.now()) or UNKNOWN_CONTEXT
