"""Which model answers, by what the operator set."""

from shared.models.offline import OfflineModel
from shared.models.openai import OpenAIModel
from shared.models.protocol import Model
from shared.runtime.settings import Settings


def choose(*, api_key: str | None, base_url: str | None, model: str, timeout_s: float) -> Model:
    """The named model at its endpoint; the offline model where neither a key nor an endpoint is set."""
    if not api_key and not base_url:
        return OfflineModel()
    return OpenAIModel(model, api_key=api_key, base_url=base_url, timeout_s=timeout_s)


def configured(settings: Settings, model: str) -> Model:
    """The model of this name, as the operator's settings reach it."""
    return choose(
        api_key=settings.openai_key,
        base_url=settings.openai_base_url,
        model=model,
        timeout_s=settings.model_timeout_s,
    )
