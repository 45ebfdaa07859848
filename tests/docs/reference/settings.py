"""Reference of the settings, from the classes that read the environment."""

from collections.abc import Mapping
from pathlib import PurePath
from types import NoneType
from typing import Annotated, Any, Final, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from services.cli.shell.settings import CliSettings
from tests.docs.reference.page import code, page, table
from tests.docs.reference.source import attribute_docs

ALL: Final = "all"
_MODELS: Final = "planner, synthesizer, coordinator"
_WRITER: Final = "synthesizer, coordinator"
_WORKERS: Final = "coordinator, planner, fetcher, synthesizer"

GROUPS: Final[Mapping[str, Mapping[str, str]]] = {
    "NATS and storage": {
        "nats_url": f"{ALL}, `dossier`",
        "nats_seed": f"{ALL}, `dossier`",
        "nats_ca": f"{ALL}, `dossier`",
        "replicas": "coordinator",
        "data": "coordinator, fetcher, `dossier`",
    },
    "API": {
        "api_host": "coordinator",
        "api_port": "coordinator, `dossier up`",
        "hosts": "coordinator",
        "trusted_proxies": "coordinator",
        "public_url": "notifier, `dossier up`",
        "api_url": "`dossier`",
        "api_key": "`dossier`",
    },
    "Runs and decisions": {
        "approval_timeout": "coordinator",
        "rounds": "coordinator",
        "digest_required": "coordinator",
        "quorum": "coordinator",
        "four_eyes": "coordinator",
        "trust_nats_identity": "coordinator",
        "late_after": "coordinator",
        "attempts": _WORKERS,
        "model_limit": _WORKERS,
        "fetch_limit": _WORKERS,
        "grace_s": f"{ALL}, `dossier up`",
    },
    "Search": {
        "docs": "fetcher, `dossier`",
        "sources": "fetcher",
        "tools": "fetcher",
        "allow_private": "fetcher",
        "contact": "fetcher",
        "page_pause_s": "fetcher",
        "searxng_url": "fetcher",
        "wikipedia_url": "fetcher",
        "arxiv_url": "fetcher",
        "tavily_url": "fetcher",
        "tavily_key": "fetcher",
        "mcp_server": "fetcher",
        "mcp_tool": "fetcher",
        "mcp_argument": "fetcher",
        "mcp_key": "fetcher",
        "mcp_pass": "fetcher",
    },
    "Models": {
        "openai_api_key": "planner, synthesizer",
        "openai_base_url": _MODELS,
        "planner_model": _MODELS,
        "writer_model": _WRITER,
        "planner_context": _MODELS,
        "writer_context": _WRITER,
        "planner_price": _MODELS,
        "writer_price": _WRITER,
        "judge": _WRITER,
        "model_timeout_s": "planner, synthesizer",
    },
    "Webhooks": {"webhooks": "notifier, `dossier up`"},
    "Observability": {
        "health_host": ALL,
        "health_port": ALL,
        "log_level": ALL,
        "log_format": ALL,
        "trace_content": "planner, synthesizer",
        "otlp_endpoint": ALL,
        "otlp_traces_endpoint": ALL,
        "otel_traces_exporter": ALL,
        "otel_disabled": ALL,
    },
}
"""Every setting, in the order of the page, and the processes that read it."""


def document() -> str:
    """The page. Raises `ValueError` for a setting that has no group or no description."""
    _check()
    head = ("Variable", "Type", "Default", "Read by", "Description")
    return page(
        "Settings",
        "Settings are environment variables. Each process reads them once, at its start; an invalid value ends it with"
        " a message that names the variable. `all` means every service. The services are `coordinator`, `planner`,"
        " `fetcher`, `synthesizer` and `notifier`; `dossier` is the command line, and `dossier up` passes the settings"
        " on to the services that it starts.",
        "A list is separated by commas. A duration is written as in `90s`, `30m`, `2h`, `14d` or `1h30m`.",
        *(
            f"## {title}\n\n{table(head, (_row(name, readers) for name, readers in group.items()))}"
            for title, group in GROUPS.items()
        ),
        "All other `OTEL_*` variables of the OpenTelemetry SDK apply as well, such as `OTEL_SERVICE_NAME`,"
        " `OTEL_TRACES_SAMPLER` and `OTEL_EXPORTER_OTLP_HEADERS`.",
    )


def variable(name: str) -> str:
    """The environment variable of a field."""
    alias = CliSettings.model_fields[name].validation_alias
    return alias if isinstance(alias, str) else f"DOSSIER_{name.upper()}"


def _check() -> None:
    grouped = [name for group in GROUPS.values() for name in group]
    docs = attribute_docs(CliSettings)
    if odd := set(grouped).symmetric_difference(CliSettings.model_fields):
        raise ValueError(f"These settings are not in exactly one group: {', '.join(sorted(odd))}.")
    if bare := [name for name in grouped if not docs.get(name)]:
        raise ValueError(f"These settings have no docstring: {', '.join(bare)}.")


def _row(name: str, readers: str) -> tuple[str, ...]:
    field = CliSettings.model_fields[name]
    description = attribute_docs(CliSettings)[name]
    return code(variable(name)), _type(name, field), code(_default(field.default)), readers, description


def _type(name: str, field: FieldInfo) -> str:
    if name in ("approval_timeout", "late_after"):
        return "duration"
    if name.endswith("_price"):
        return "price"
    bounds = {type(each).__name__: each for each in field.metadata}
    low, high = bounds.get("Ge"), bounds.get("Le")
    if low and high:
        return f"{_kind(field.annotation)}, {low.ge} to {high.le}"
    if low:
        return f"{_kind(field.annotation)}, {low.ge} or more"
    return _kind(field.annotation)


def _kind(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return ", ".join(code(value) for value in get_args(annotation))
    if get_origin(annotation) is tuple:
        return "list"
    if get_origin(annotation) is Annotated:
        return _kind(get_args(annotation)[0])
    if options := [each for each in get_args(annotation) if each is not NoneType]:
        return _kind(options[0])
    if issubclass(annotation, PurePath):
        return "path"
    names = {SecretStr: "secret", str: "string", bool: "boolean", int: "integer", float: "number"}
    return names[annotation]


def _default(value: object) -> str:
    match value:
        case None | () | "":
            return ""
        case bool():
            return str(value).lower()
        case tuple():
            return ",".join(map(str, value))
        case float():
            return f"{value:g}"
        case _:
            return str(value)
