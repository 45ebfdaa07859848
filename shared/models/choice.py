"""Construction of the model that the operator's settings name."""

from shared.models.context_window import Agent, ContextWindow, window_of
from shared.models.offline import OfflineModel
from shared.models.openai import OpenAIModel
from shared.models.prices import Tariff
from shared.models.protocol import Model
from shared.models.roles import context_tokens, model_name, tariff
from shared.runtime.settings import Settings


def create_model(
    *, api_key: str | None, base_url: str | None, model: str, timeout_s: float, tariff: Tariff | None = None
) -> Model:
    """Return the named model at its endpoint, or the offline model if neither a key nor a base URL is set."""
    if not api_key and not base_url:
        return OfflineModel()
    return OpenAIModel(model, api_key=api_key, base_url=base_url, timeout_s=timeout_s, tariff=tariff)


def create_agent_model(settings: Settings, agent: Agent) -> tuple[Model, ContextWindow]:
    """Return the model of an agent after the settings, and its context window."""
    if not settings.openai_key and not settings.openai_base_url:
        return OfflineModel(), window_of(agent)
    model = create_model(
        api_key=settings.openai_key,
        base_url=settings.openai_base_url,
        model=model_name(settings, agent),
        timeout_s=settings.model_timeout_s,
        tariff=tariff(settings, agent),
    )
    return model, window_of(agent, context_tokens(settings, agent))
