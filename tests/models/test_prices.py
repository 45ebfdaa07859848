"""What a call costs is what is known of its price, and never a guess."""

import socket
import threading
from datetime import UTC, datetime

import pytest
from genai_prices import data_snapshot
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.tokens import Tokens, estimate_tokens
from shared.models.choice import create_agent_model
from shared.models.context_window import UNKNOWN_CONTEXT, window_of
from shared.models.offline import OfflineModel
from shared.models.prices import OPENAI, OPENAI_URL, Tariff, listed_context
from shared.models.roles import context_tokens, tariff
from shared.runtime.settings import Settings

AT = datetime(2026, 11, 1, tzinfo=UTC)
MILLION = Tokens(1_000_000, 1_000_000)


def settings(**more: object) -> Settings:
    return Settings(**{"openai_api_key": "sk-1", "openai_base_url": None, **more})  # type: ignore[arg-type]


def test_a_listed_model_costs_what_the_table_says():
    assert Tariff("gpt-4o", OPENAI).cost(Tokens(1_000, 100), AT) == pytest.approx(0.0035)
    assert Tariff("gpt-4o-mini", OPENAI).cost(Tokens(1_000, 100), AT) == pytest.approx(0.00021)


def test_what_the_provider_had_read_before_costs_less():
    whole = Tariff("gpt-4o", OPENAI).cost(Tokens(1_000, 100), AT)
    assert 0 < Tariff("gpt-4o", OPENAI).cost(Tokens(1_000, 100, cached=900), AT) < whole


@pytest.mark.parametrize("unknown", [Tariff("qwen3", OPENAI), Tariff("gpt-4o"), Tariff("gpt-4o", "nobody")])
def test_what_nobody_says_a_price_of_has_none_and_is_never_free(unknown: Tariff):
    assert unknown.cost(MILLION, AT) is None


def test_the_operators_own_price_comes_first():
    assert Tariff("gpt-4o", OPENAI, (3.0, 4.0)).cost(MILLION, AT) == pytest.approx(7.0)
    assert Tariff("qwen3", "", (0.0, 0.0)).cost(MILLION, AT) == 0.0


def test_the_table_is_the_one_that_came_with_the_lock_and_stays_it(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise AssertionError("Something reached for the network.")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    before = threading.active_count()
    assert Tariff("gpt-4o", OPENAI).cost(MILLION, AT)
    assert not data_snapshot.get_snapshot().from_auto_update
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("said", "provider"), [(None, OPENAI), (f"{OPENAI_URL}/", OPENAI), ("http://127.0.0.1:8080/v1", "")]
)
def test_listed_prices_are_those_of_openai_and_of_no_other_endpoint(said: str | None, provider: str):
    assert tariff(settings(openai_base_url=said), "writer") == Tariff("gpt-4o", provider)


def test_each_agent_has_a_price_of_its_own():
    said = settings(planner_price="1/2", writer_price="3/4")
    assert (tariff(said, "planner").given, tariff(said, "writer").given) == ((1.0, 2.0), (3.0, 4.0))


@pytest.mark.parametrize(
    ("said", "known"),
    [
        ({}, 128_000),
        ({"writer_context": 9_000}, 9_000),
        ({"writer_model": "mine"}, UNKNOWN_CONTEXT),
        ({"openai_base_url": "http://127.0.0.1:8080/v1"}, UNKNOWN_CONTEXT),
        ({"openai_base_url": "http://127.0.0.1:8080/v1", "writer_context": 32_768}, 32_768),
    ],
)
def test_a_models_context_is_what_was_set_else_what_is_known_of_it(said: dict[str, object], known: int):
    assert context_tokens(settings(**said), "writer") == known


def test_nothing_is_known_of_the_context_of_a_model_that_is_not_listed():
    assert listed_context("mine", OPENAI, AT) is None


@pytest.mark.parametrize("tokens", [2_048, 8_192, 16_384, 128_000])
def test_prompt_and_reply_fit_into_the_context_together(tokens: int):
    for agent in ("planner", "writer"):
        fits = window_of(agent, tokens)
        assert estimate_tokens("x" * fits.prompt) + fits.reply <= tokens
        assert fits.prompt > fits.reply


async def test_without_key_and_endpoint_the_offline_model_is_configured_and_no_table_is_read():
    model, _ = create_agent_model(settings(openai_api_key=None), "planner")
    assert isinstance(model, OfflineModel)
    await model.aclose()


@given(st.text(), st.text())
def test_an_estimate_of_more_text_is_never_less(some: str, more: str):
    assert estimate_tokens(some) <= estimate_tokens(some + more)
