"""The environment in, frozen settings out; what cannot be says which variable and why."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.contracts.topology import Limits
from shared.runtime.identity import NO_IDENTITY
from shared.runtime.retry_policy import RetryPolicy
from shared.runtime.settings import Settings


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have settings of their own."""
    for name in os.environ:  # noqa: TID251  it is the environment that is tested
        if name.upper().startswith(("DOSSIER_", "OPENAI_", "OTEL_")):
            monkeypatch.delenv(name)


def test_the_defaults_suit_one_machine():
    settings = Settings()
    assert settings.nats_url == ("nats://127.0.0.1:4222",)
    assert settings.limits == Limits(replicas=1, models=5, fetches=20)
    assert settings.policy == RetryPolicy(attempts=4)
    assert (settings.planner_model, settings.writer_model) == ("gpt-4o-mini", "gpt-4o")
    assert settings.approval_timeout == "2h"
    assert settings.digest_required is False
    assert settings.openai_key is None
    assert settings.openai_base_url is None
    assert settings.docs is None


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("DOSSIER_NATS_URL", "nats://a:1", "nats_url", ("nats://a:1",)),
        ("DOSSIER_NATS_URL", "nats://a:1, nats://b:2", "nats_url", ("nats://a:1", "nats://b:2")),
        ("DOSSIER_DATA", "/var/lib/dossier", "data", Path("/var/lib/dossier")),
        ("DOSSIER_MODEL_LIMIT", "9", "limits", Limits(models=9)),
        ("DOSSIER_FETCH_LIMIT", "9", "limits", Limits(fetches=9)),
        ("DOSSIER_REPLICAS", "3", "limits", Limits(replicas=3)),
        ("DOSSIER_ATTEMPTS", "1", "policy", RetryPolicy(attempts=1)),
        ("DOSSIER_APPROVAL_TIMEOUT", "14d", "approval_timeout", "14d"),
        ("DOSSIER_DIGEST_REQUIRED", "true", "digest_required", True),
        ("DOSSIER_HOSTS", "a.example, b.example", "hosts", ("a.example", "b.example")),
        ("DOSSIER_HOSTS", "", "hosts", ()),
        ("DOSSIER_TRUSTED_PROXIES", "10.0.0.0/8", "trusted_proxies", ("10.0.0.0/8",)),
        ("DOSSIER_QUORUM", "2", "quorum", 2),
        ("DOSSIER_FOUR_EYES", "true", "four_eyes", True),
        ("DOSSIER_TRUST_NATS_IDENTITY", "true", "trust_nats_identity", True),
        ("DOSSIER_DOCS", "/srv/docs", "docs", Path("/srv/docs")),
        ("DOSSIER_DOCS", "", "docs", None),
        ("DOSSIER_PLANNER_MODEL", "m-1", "planner_model", "m-1"),
        ("DOSSIER_PLANNER_PRICE", "0.15/0.6", "planner_price", (0.15, 0.6)),
        ("DOSSIER_WRITER_PRICE", "0/0", "writer_price", (0.0, 0.0)),
        ("DOSSIER_WRITER_PRICE", "", "writer_price", None),
        ("DOSSIER_WRITER_CONTEXT", "8192", "writer_context", 8_192),
        ("DOSSIER_WRITER_CONTEXT", "", "writer_context", None),
        ("DOSSIER_ROUNDS", "2", "rounds", 2),
        ("DOSSIER_API_PORT", "0", "api_port", 0),
        ("DOSSIER_GRACE_S", "0", "grace_s", 0.0),
        ("DOSSIER_LOG_LEVEL", "debug", "log_level", "debug"),
        ("DOSSIER_LOG_FORMAT", "json", "log_format", "json"),
        ("DOSSIER_TRACE_CONTENT", "true", "trace_content", True),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318", "exports_traces", True),
        ("OPENAI_API_KEY", "sk-1", "openai_key", "sk-1"),
        ("OPENAI_API_KEY", "", "openai_key", None),
        ("OPENAI_BASE_URL", "http://localhost/v1", "openai_base_url", "http://localhost/v1"),
        ("OPENAI_BASE_URL", "", "openai_base_url", None),
    ],
)
def test_a_variable_is_the_setting(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, field: str, expected: object
):
    monkeypatch.setenv(name, value)
    assert getattr(Settings(), field) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DOSSIER_REPLICAS", "0"),
        ("DOSSIER_REPLICAS", "6"),
        ("DOSSIER_API_PORT", "http"),
        ("DOSSIER_API_PORT", "65536"),
        ("DOSSIER_MODEL_LIMIT", "0"),
        ("DOSSIER_FETCH_LIMIT", "-1"),
        ("DOSSIER_ATTEMPTS", "0"),
        ("DOSSIER_APPROVAL_TIMEOUT", "soon"),
        ("DOSSIER_APPROVAL_TIMEOUT", "367d"),
        ("DOSSIER_DIGEST_REQUIRED", "perhaps"),
        ("DOSSIER_GRACE_S", "-1"),
        ("DOSSIER_SOURCES", "11"),
        ("DOSSIER_ROUNDS", "0"),
        ("DOSSIER_WRITER_CONTEXT", "2000"),
        ("DOSSIER_WRITER_PRICE", "2.5"),
        ("DOSSIER_WRITER_PRICE", "2.5/-1"),
        ("DOSSIER_PLANNER_PRICE", "cheap/dear"),
        ("DOSSIER_PLANNER_PRICE", "nan/1"),
        ("DOSSIER_MODEL_TIMEOUT_S", "0"),
        ("DOSSIER_LOG_LEVEL", "loud"),
        ("DOSSIER_LOG_FORMAT", "xml"),
        ("DOSSIER_NATS_URL", ""),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_the_name_of_its_setting(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match=name.removeprefix("DOSSIER_").lower()):
        Settings()


@pytest.mark.parametrize("text", ["not a seed", "SU" + "A" * 55, "SA" + "A" * 56, ""])
def test_a_file_with_no_seed_of_a_user_is_refused_without_a_word_of_what_is_in_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
):
    (tmp_path / "user.nk").write_text(text)
    monkeypatch.setenv("DOSSIER_NATS_SEED", str(tmp_path / "user.nk"))
    with pytest.raises(ValidationError, match="nats_seed") as refused:
        Settings()
    assert not text or text not in str(refused.value)


@pytest.mark.parametrize("name", ["DOSSIER_NATS_SEED", "DOSSIER_NATS_CA"])
def test_a_file_that_cannot_be_read_is_refused_at_the_start_and_an_empty_name_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
):
    monkeypatch.setenv(name, str(tmp_path / "missing"))
    with pytest.raises(ValidationError, match=name.removeprefix("DOSSIER_").lower()):
        Settings()
    monkeypatch.setenv(name, "")
    assert Settings().identity == NO_IDENTITY


def test_settings_do_not_change():
    with pytest.raises(ValidationError):
        Settings().api_port = 1  # type: ignore[misc]


def test_a_key_is_not_shown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    assert "sk-secret" not in repr(Settings())
    assert "sk-secret" not in str(Settings().model_dump())
