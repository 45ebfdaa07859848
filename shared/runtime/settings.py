"""Settings from environment variables, read once. Names begin with `DOSSIER_`, except those of OpenAI and
OpenTelemetry.
"""

import logging
import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.contracts.requests import parse_duration_s
from shared.contracts.topology import Limits
from shared.errors import InvalidMessage
from shared.runtime.identity import Identity, check_ca, check_seed
from shared.runtime.retry_policy import RetryPolicy

_Dollars = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Price = tuple[_Dollars, _Dollars]


class Settings(BaseSettings):
    """Settings of all services. The defaults suit one machine.

    The docstrings of the fields are the descriptions in `docs/reference/settings.md`.
    """

    model_config = SettingsConfigDict(env_prefix="DOSSIER_", frozen=True, populate_by_name=True)

    nats_url: Annotated[tuple[str, ...], NoDecode] = ("nats://127.0.0.1:4222",)
    """NATS servers. `tls://` requires TLS."""
    nats_seed: Path | None = None
    """File with the nkey seed of the NATS user that this process connects as; `dossier nats init` writes one a user."""
    nats_ca: Path | None = None
    """File with the certificate authority of the NATS servers. When it is set, every connection uses TLS."""
    data: Path = Path(".dossier")
    """Folder of the projection and of caches, all of which can be rebuilt from the log. `dossier up` keeps the log
    here as well."""
    replicas: int = Field(default=1, ge=1, le=5)
    """NATS servers that store each message; 3 survives the loss of one server."""

    api_host: str = "127.0.0.1"
    """Address on which the API listens. On any but a loopback address the API requires a key."""
    api_port: int = Field(default=8400, ge=0, le=65_535)
    """Port of the API."""
    hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """Further host names by which the API is reached; the loopback names always work."""
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = ()
    """Addresses or networks of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` headers are trusted."""
    health_host: str = "127.0.0.1"
    """Address on which the health port listens."""
    health_port: int = Field(default=0, ge=0, le=65_535)
    """Port of `/livez`, `/readyz` and `/metrics`, which need no key; 0 disables it."""

    model_limit: int = Field(default=5, ge=1)
    """Planning tasks in progress at once over all processes, and as many writing tasks: a bound on API spending."""
    fetch_limit: int = Field(default=20, ge=1)
    """Fetch tasks in progress at once over all processes."""
    attempts: int = Field(default=4, ge=1)
    """Attempts of a step before it fails."""
    approval_timeout: str = "2h"
    """Time that a hold waits for a decision, up to 366 days, unless the request sets another."""
    late_after: str = "5m"
    """Time after which a run with a task unanswered or a fact unwritten is listed as late."""
    rounds: int = Field(default=5, ge=1)
    """Rounds of a run. The hold of the last round can be approved or rejected, but not sent back."""
    digest_required: bool = False
    """Refuse decisions that do not carry the digest of the evidence."""
    quorum: int = Field(default=1, ge=1, le=100)
    """People who must approve a hold, each with a key of their own."""
    four_eyes: bool = False
    """Refuse an approval by the requester of the run."""
    trust_nats_identity: bool = False
    """Accept the names in NATS messages as identities for quorum and four-eyes."""
    grace_s: float = Field(default=20, ge=0)
    """Seconds that a service may use after SIGTERM to finish its current work."""

    docs: Path | None = None
    """Folder of .md, .rst, .txt and .html files for the tool `docs`. If unset, it searches the documentation of the
    Python installation."""
    sources: int = Field(default=5, ge=1, le=8)
    """Sources that one sub-query returns at most."""

    tools: Annotated[tuple[str, ...], NoDecode] = ("docs",)
    """Search tools that runs may use; a run that names none uses all of them. `docs` alone reaches no network."""
    allow_private: Annotated[tuple[str, ...], NoDecode] = ()
    """Hosts and networks that pages may be read from besides public addresses at ports 80 and 443, each with or without
    a port, as in `wiki.lan:8080,10.1.0.0/16`."""
    contact: str = ""
    """URL in the `User-Agent` header of page requests, for site owners."""
    page_pause_s: float = Field(default=1.0, ge=0.001, le=60)
    """Seconds between two requests of one fetcher process to one host."""

    searxng_url: str = ""
    """Your SearXNG server; the tool `searxng` needs it."""
    wikipedia_url: str = "https://en.wikipedia.org/w/api.php"
    """MediaWiki API that the tool `wikipedia` searches."""
    arxiv_url: str = "https://export.arxiv.org/api/query"
    """API that the tool `arxiv` searches."""
    tavily_url: str = "https://api.tavily.com"
    """API that the tool `tavily` searches."""
    tavily_key: SecretStr | None = None
    """Key of the tool `tavily`."""
    mcp_server: str = ""
    """URL of an MCP server (streamable HTTP), or the command that starts one (stdio)."""
    mcp_tool: str = ""
    """Tool of that server which is called to search."""
    mcp_argument: str = "query"
    """Argument of that tool that takes the query."""
    mcp_key: SecretStr | None = None
    """Bearer token for an MCP server with a URL."""
    mcp_pass: Annotated[tuple[str, ...], NoDecode] = ()
    """Names of environment variables that are passed to a started MCP server; none by default."""

    planner_model: str = "gpt-4o-mini"
    """Model that plans, and that judges claims."""
    writer_model: str = "gpt-4o"
    """Model that writes reports."""
    planner_context: int | None = Field(default=None, ge=2_048)
    """Context window of the planner's model in tokens, input and output together. If unset, the known value of the
    model, else 16,384."""
    writer_context: int | None = Field(default=None, ge=2_048)
    """Context window of the writer's model, in the same way."""
    planner_price: Annotated[Price | None, NoDecode] = None
    """US dollars for a million input and a million output tokens of the planner's model, as in `0.15/0.6`. If unset,
    the list price, which is known for OpenAI itself."""
    writer_price: Annotated[Price | None, NoDecode] = None
    """Price of the writer's model, in the same way."""
    judge: bool = True
    """Have the planner's model judge, in addition to the rules, whether the quotes support the claims of a report."""
    model_timeout_s: float = Field(default=120, gt=0)
    """Seconds that a model call may take."""
    openai_api_key: SecretStr | None = Field(default=None, validation_alias="OPENAI_API_KEY")
    """Key of the model's endpoint. Without a key and a base URL, the offline model plans and writes."""
    openai_base_url: str | None = Field(default=None, validation_alias="OPENAI_BASE_URL")
    """Base URL of any OpenAI-compatible endpoint; OpenAI's own if unset."""

    webhooks: Path | None = None
    """TOML file with the endpoints of webhooks. If unset, no notifier runs."""
    public_url: str = "http://127.0.0.1:8400"
    """URL at which people open Dossier; links in webhooks begin with it."""

    log_level: str = "INFO"
    """Lowest level that is logged: DEBUG, INFO, WARNING or ERROR."""
    log_format: Literal["auto", "text", "json"] = "auto"
    """Format of log lines. `auto` is text on a terminal and JSON elsewhere."""
    trace_content: bool = False
    """Add prompts and replies to the exported spans of model calls."""
    otlp_endpoint: str = Field(default="", validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    """OTLP/HTTP collector to which traces are exported; no traces if unset."""
    otlp_traces_endpoint: str = Field(default="", validation_alias="OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    """Collector of traces where it differs from the general endpoint."""
    otel_traces_exporter: str = Field(default="otlp", validation_alias="OTEL_TRACES_EXPORTER")
    """`none` disables the export of traces."""
    otel_disabled: str = Field(default="", validation_alias="OTEL_SDK_DISABLED")
    """`true` disables the export of traces."""

    @field_validator("nats_url", "hosts", "trusted_proxies", "tools", "allow_private", "mcp_pass", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """Split a comma-separated text into a tuple; other values pass unchanged."""
        return tuple(part.strip() for part in value.split(",") if value) if isinstance(value, str) else value

    @field_validator("approval_timeout", "late_after")
    @classmethod
    def _is_duration(cls, value: str, info: ValidationInfo) -> str:
        """Raise `ValueError` unless the value is a duration such as `2h`."""
        try:
            parse_duration_s(value, info.field_name or "")
        except InvalidMessage as error:
            raise ValueError(error.message) from error
        return value

    @field_validator("nats_seed")
    @classmethod
    def _is_seed(cls, value: Path | None) -> Path | None:
        """Raise `ValueError` unless the file has the seed of an nkey user."""
        return check_seed(value) if value else None

    @field_validator("nats_ca")
    @classmethod
    def _is_authority(cls, value: Path | None) -> Path | None:
        """Raise `ValueError` unless the file has certificates."""
        return check_ca(value) if value else None

    @field_validator("log_level")
    @classmethod
    def _is_level(cls, value: str) -> str:
        """Raise `ValueError` unless the value is a log level of `logging`, in any case."""
        if value.upper() not in logging.getLevelNamesMapping():
            raise ValueError(f"{value!r} is no log level; DEBUG, INFO, WARNING and ERROR are.")
        return value

    @field_validator("nats_url")
    @classmethod
    def _is_some_server(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Raise `ValueError` if no server is named or one is empty."""
        if not any(value) or not all(value):
            raise ValueError("Name at least one server, as in nats://127.0.0.1:4222.")
        return value

    @field_validator("tools")
    @classmethod
    def _is_some_tool(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Drop repeated tools. Raises `ValueError` if none is named or one is empty."""
        if not any(value) or not all(value):
            raise ValueError("Name at least one tool, as in docs or docs,wikipedia.")
        return tuple(dict.fromkeys(value))

    @field_validator("planner_price", "writer_price", mode="before")
    @classmethod
    def _split_price(cls, value: object) -> object:
        """Split `0.15/0.6` into its parts; an empty text is `None`."""
        return value.split("/") if isinstance(value, str) and value else value or None

    @field_validator("public_url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        """Return the URL without a trailing slash. Raises `ValueError` unless it is http(s) without user, query or
        fragment.
        """
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
        """Return `None` for an empty text; other values pass unchanged."""
        return None if value == "" else value

    @property
    def exports_traces(self) -> bool:
        """True if a collector is set and OpenTelemetry's variables do not disable traces."""
        is_off = self.otel_disabled.strip().lower() == "true" or self.otel_traces_exporter.strip() == "none"
        return bool(self.otlp_endpoint or self.otlp_traces_endpoint) and not is_off

    @property
    def identity(self) -> Identity:
        """Files with which this process proves itself to NATS and checks NATS."""
        return Identity(self.nats_seed, self.nats_ca)

    @property
    def openai_key(self) -> str | None:
        """The key of the model's endpoint in the clear, or `None`."""
        return self.openai_api_key.get_secret_value() if self.openai_api_key else None

    @property
    def mcp_environment(self) -> dict[str, str]:
        """The environment variables named by `mcp_pass` that are set."""
        return {name: os.environ[name] for name in self.mcp_pass if name in os.environ}

    @property
    def limits(self) -> Limits:
        """Settings that are part of the topology."""
        return Limits(replicas=self.replicas, models=self.model_limit, fetches=self.fetch_limit)

    @property
    def policy(self) -> RetryPolicy:
        """Retry policy of workers."""
        return RetryPolicy(attempts=self.attempts)


def read_secret(name: str) -> SecretStr | None:
    """Return the environment variable `name` as a secret, or `None` if it is unset or empty."""
    value = os.environ.get(name, "")
    return SecretStr(value) if value else None
