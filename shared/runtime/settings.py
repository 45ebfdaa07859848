"""The environment, read once. Every name begins with `DOSSIER_`; only the OpenAI ones are those of its SDK."""

import logging
import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.contracts.requests import duration_s
from shared.contracts.topology import Limits
from shared.errors import InvalidMessage
from shared.runtime.identity import Identity, check_ca, check_seed
from shared.runtime.retry_policy import RetryPolicy

_Dollars = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Price = tuple[_Dollars, _Dollars]


class Settings(BaseSettings):
    """What an operator may set, with defaults that suit one machine."""

    model_config = SettingsConfigDict(env_prefix="DOSSIER_", frozen=True, populate_by_name=True)

    nats_url: Annotated[tuple[str, ...], NoDecode] = ("nats://127.0.0.1:4222",)
    """Servers, separated by commas."""
    nats_seed: Path | None = None
    """File with the seed of the nkey user that this process is to NATS; `dossier nats init` writes one for each."""
    nats_ca: Path | None = None
    """File with the authority that NATS servers have their certificates from. With it, nothing is said in the clear."""
    data: Path = Path(".dossier")
    """Folder of the projection and of caches; everything in it can be made again from the log."""
    replicas: int = Field(default=1, ge=1, le=5)

    api_host: str = "127.0.0.1"
    api_port: int = Field(default=8400, ge=0, le=65_535)
    hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """Names under which the API is reached, separated by commas; those of the loopback always work."""
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = ()
    """Addresses or networks of proxies whose `X-Forwarded-For` and `-Proto` are believed, separated by commas."""
    health_host: str = "127.0.0.1"
    health_port: int = Field(default=0, ge=0, le=65_535)
    """Port of a worker's `/livez` and `/readyz`; 0 for none."""

    model_limit: int = Field(default=5, ge=1)
    """Planning and writing tasks in flight at once, each, over all processes: a bound on API spend."""
    fetch_limit: int = Field(default=20, ge=1)
    """Fetches in flight at once, over all processes."""
    attempts: int = Field(default=4, ge=1)
    approval_timeout: str = "2h"
    late_after: str = "5m"
    """How long a run may be due to move, with a task unanswered or a fact unwritten, before it is listed as late."""
    rounds: int = Field(default=5, ge=1)
    """How often a run may plan and fetch; the hold of the last round can be approved or rejected, not sent back."""
    digest_required: bool = False
    """Refuse decisions that do not name the digest of the evidence they are on."""
    quorum: int = Field(default=1, ge=1, le=100)
    """So many people have to approve, each with a key of their own."""
    four_eyes: bool = False
    """Refuse the approval of whoever asked."""
    trust_nats_identity: bool = False
    """Take the names in messages on NATS for those who sent them, where it matters who approves."""
    grace_s: float = Field(default=20, ge=0)
    """How long a worker that is told to stop goes on with what it has in hand."""

    docs: Path | None = None
    """Folder that the tool `docs` searches; without one, the documentation inside the Python installation."""
    sources: int = Field(default=5, ge=1, le=8)
    """Sources that a sub-query brings at most."""

    tools: Annotated[tuple[str, ...], NoDecode] = ("docs",)
    """What runs may search with, separated by commas; a run that names none gets them all. `docs` alone: no network."""
    allow_private: Annotated[tuple[str, ...], NoDecode] = ()
    """What pages may be read from besides public addresses at ports 80 and 443: hosts or networks, each with a port or
    for these two, as in `wiki.lan:8080,10.1.0.0/16`."""
    contact: str = ""
    """A URL that says who asks; part of the `User-Agent` with which pages are read."""
    page_pause_s: float = Field(default=1.0, ge=0.001, le=60)
    """Seconds between two requests to one host, of one fetcher process."""

    searxng_url: str = ""
    wikipedia_url: str = "https://en.wikipedia.org/w/api.php"
    arxiv_url: str = "https://export.arxiv.org/api/query"
    tavily_url: str = "https://api.tavily.com"
    tavily_key: SecretStr | None = None
    mcp_server: str = ""
    """URL of an MCP server (streamable HTTP), or the command that starts one (stdio)."""
    mcp_tool: str = ""
    mcp_argument: str = "query"
    """The argument of that tool that gets the query."""
    mcp_key: SecretStr | None = None
    """Bearer token for a server with a URL."""
    mcp_pass: Annotated[tuple[str, ...], NoDecode] = ()
    """Names of environment variables that a started server gets to see; without, none of ours."""

    planner_model: str = "gpt-4o-mini"
    writer_model: str = "gpt-4o"
    planner_context: int | None = Field(default=None, ge=2_048)
    writer_context: int | None = Field(default=None, ge=2_048)
    """Tokens that the model reads and writes together; where it is not said, what is known of it, else 16,384."""
    planner_price: Annotated[Price | None, NoDecode] = None
    writer_price: Annotated[Price | None, NoDecode] = None
    """US dollars for a million tokens into the model and out of it, as in `2.5/10`: for what no price is known of."""
    judge: bool = True
    """Have the planner's model judge, beside the rule, whether the quotes of a report bear its claims out."""
    model_timeout_s: float = Field(default=120, gt=0)
    openai_api_key: SecretStr | None = Field(default=None, validation_alias="OPENAI_API_KEY")
    openai_base_url: str | None = Field(default=None, validation_alias="OPENAI_BASE_URL")

    webhooks: Path | None = None
    """File that says who is told of holds, deadlines and ends; without one, nobody is."""
    public_url: str = "http://127.0.0.1:8400"
    """Where people open the pages of this Dossier: what links in messages begin with."""

    log_level: str = "INFO"
    log_format: Literal["auto", "text", "json"] = "auto"
    """Lines for people, or for machines; by itself the former on a terminal and the latter elsewhere."""
    trace_content: bool = False
    """Export prompts and replies with the spans of model calls."""
    otlp_endpoint: str = Field(default="", validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    """Where spans go; like all of OpenTelemetry's variables read by its SDK itself, and here only to know whether."""
    otlp_traces_endpoint: str = Field(default="", validation_alias="OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    otel_traces_exporter: str = Field(default="otlp", validation_alias="OTEL_TRACES_EXPORTER")
    otel_disabled: str = Field(default="", validation_alias="OTEL_SDK_DISABLED")

    @field_validator("nats_url", "hosts", "trusted_proxies", "tools", "allow_private", "mcp_pass", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if value) if isinstance(value, str) else value

    @field_validator("approval_timeout", "late_after")
    @classmethod
    def _is_duration(cls, value: str, info: ValidationInfo) -> str:
        try:
            duration_s(value, info.field_name or "")
        except InvalidMessage as error:
            raise ValueError(error.message) from error
        return value

    @field_validator("nats_seed")
    @classmethod
    def _is_seed(cls, value: Path | None) -> Path | None:
        return check_seed(value) if value else None

    @field_validator("nats_ca")
    @classmethod
    def _is_authority(cls, value: Path | None) -> Path | None:
        return check_ca(value) if value else None

    @field_validator("log_level")
    @classmethod
    def _is_level(cls, value: str) -> str:
        if value.upper() not in logging.getLevelNamesMapping():
            raise ValueError(f"{value!r} is no log level; DEBUG, INFO, WARNING and ERROR are.")
        return value

    @field_validator("nats_url")
    @classmethod
    def _is_some_server(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not any(value) or not all(value):
            raise ValueError("Name at least one server, as in nats://127.0.0.1:4222.")
        return value

    @field_validator("tools")
    @classmethod
    def _is_some_tool(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not any(value) or not all(value):
            raise ValueError("Name at least one tool, as in docs or docs,wikipedia.")
        return tuple(dict.fromkeys(value))

    @field_validator("planner_price", "writer_price", mode="before")
    @classmethod
    def _split_price(cls, value: object) -> object:
        return value.split("/") if isinstance(value, str) and value else value or None

    @field_validator("public_url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        if not re.fullmatch(r"https?://[^\s/?#@<>|\"]+(/[^\s?#<>|\"]*)?", value):
            raise ValueError(
                f"{value!r} is no URL such as https://dossier.example.com, without user, query or fragment."
            )
        return value.rstrip("/")

    @field_validator(
        "nats_seed",
        "nats_ca",
        "docs",
        "webhooks",
        "openai_api_key",
        "openai_base_url",
        "planner_context",
        "writer_context",
        "tavily_key",
        "mcp_key",
        mode="before",
    )
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return None if value == "" else value

    @property
    def exports_traces(self) -> bool:
        """Whether there is somebody to export spans to."""
        is_off = self.otel_disabled.strip().lower() == "true" or self.otel_traces_exporter.strip() == "none"
        return bool(self.otlp_endpoint or self.otlp_traces_endpoint) and not is_off

    @property
    def identity(self) -> Identity:
        """What to show to NATS, and what to expect of it."""
        return Identity(self.nats_seed, self.nats_ca)

    @property
    def openai_key(self) -> str | None:
        """The key itself, for whoever makes the calls."""
        return self.openai_api_key.get_secret_value() if self.openai_api_key else None

    @property
    def mcp_environment(self) -> dict[str, str]:
        """The variables that a started MCP server gets to see."""
        return {name: os.environ[name] for name in self.mcp_pass if name in os.environ}

    @property
    def limits(self) -> Limits:
        """The settings that are part of the topology."""
        return Limits(replicas=self.replicas, models=self.model_limit, fetches=self.fetch_limit)

    @property
    def policy(self) -> RetryPolicy:
        """How patient workers are."""
        return RetryPolicy(attempts=self.attempts)


def secret(name: str) -> SecretStr | None:
    """The variable that a configuration file names for a secret; `None` where it is not set."""
    value = os.environ.get(name, "")
    return SecretStr(value) if value else None
