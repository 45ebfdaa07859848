"""Without a key and an endpoint there is still an answer."""

import asyncio

import pytest
from pydantic import BaseModel

from shared.contracts.evidence import Usage
from shared.models.choice import create_model
from shared.models.offline import OfflineModel
from shared.models.openai import OpenAIModel
from shared.models.protocol import Answer, Ask


class Colour(BaseModel):
    name: str


ASK = Ask("system", "user", Colour, lambda: Colour(name="blue"), 10)


def test_every_ask_is_answered_by_rule_for_nothing_and_is_not_called_degraded():
    async def ask():
        model = OfflineModel()
        answer = await model.answer(ASK)
        await model.aclose()
        return answer

    assert asyncio.run(ask()) == Answer(Colour(name="blue"), "offline", Usage(), degraded=None)


@pytest.mark.parametrize(
    ("api_key", "base_url", "kind"),
    [
        (None, None, OfflineModel),
        ("", "", OfflineModel),
        ("sk-1", None, OpenAIModel),
        (None, "http://localhost:8080/v1", OpenAIModel),
        ("sk-1", "http://localhost:8080/v1", OpenAIModel),
    ],
)
def test_the_offline_model_is_chosen_only_without_key_and_endpoint(api_key, base_url, kind):
    async def chosen():
        model = create_model(api_key=api_key, base_url=base_url, model="gpt-4o", timeout_s=5)
        await model.aclose()
        return model

    assert isinstance(asyncio.run(chosen()), kind)
