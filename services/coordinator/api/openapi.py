"""OpenAPI description of the HTTP API, complete with examples, webhooks and the errors of each route.

`make docs` writes it to `docs/reference/openapi.json`. Routes state their errors where they are declared; this module
adds what FastAPI cannot know: examples of bodies, the content of reports and event streams, and the webhooks.
"""

from typing import Any, Final

import msgspec
from fastapi import FastAPI

from services.coordinator.api import examples
from services.coordinator.http.routes import Routes
from shared.api.schemas import Problem
from shared.contracts import samples
from shared.contracts.deliveries import EVENT_TYPES, EventType, WebhookData
from shared.contracts.evidence import Report
from shared.contracts.schemas import schemas

Json = dict[str, Any]

_JSON: Final = "application/json"
_CONTRACT: Final = "contract."
"""Prefix of schemas that are generated from the published language, apart from those of the API's own."""
_DESCRIPTION: Final = (
    "Ask, watch, decide. Every answer has `Dossier-Sequence`, the place in the log that it was made from; a GET that "
    "sends one waits up to two seconds for it. Errors are problem details (RFC 9457): `code` decides, `detail` "
    "explains."
)
_SERVER: Final = {"url": "http://127.0.0.1:8400", "description": "As `dossier up` runs it."}
_LOCATION: Final = {"Location": {"schema": {"type": "string"}, "description": "Where the run is."}}
_IDS: Final = {"run_id": samples.RUN, "delivery_id": samples.DELIVERY.id}


def described_app(routes: Routes) -> FastAPI:
    """Application with these routes, which serves its own description at `/openapi.json` with the right to read."""
    app = FastAPI(
        title="Dossier",
        version="1",
        description=_DESCRIPTION,
        license_info={"name": "MIT"},
        servers=[_SERVER],
        docs_url=None,
        redoc_url=None,
    )
    app.include_router(routes.router)
    assert app.openapi_url
    routes.rights.declare("GET", app.openapi_url, "read")
    describe, cached = app.openapi, list[Json]()

    def openapi() -> Json:
        """The complete description; made once."""
        if not cached:
            cached.append(_complete(describe()))
        return cached[0]

    app.openapi = openapi
    return app


def _complete(document: Json) -> Json:
    """FastAPI's description with schemas of the published language, examples and webhooks added. Changes `document`."""
    components: Json = document["components"]["schemas"]
    components |= _contract_schemas() | {"Problem": Problem.model_json_schema()}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            _complete_operation(path, operation, components)
    return document | {"webhooks": {event: _webhook(event) for event in EVENT_TYPES}}


def _complete_operation(path: str, operation: Json, components: Json) -> None:
    """Add examples of parameters, body and response to an operation, in place."""
    _complete_parameters(operation)
    success = next(each for status, each in operation["responses"].items() if status.startswith("2"))
    if path == "/v1/runs":
        success["headers"] |= _LOCATION if "requestBody" in operation else {}
    if path.endswith("/report"):
        success["content"] = _report_content()
    if path.endswith("/events"):
        stream = {"schema": {"type": "string"}, "example": examples.event_stream()}
        success["content"]["text/event-stream"] = stream
    for part in (success, operation.get("requestBody", {})):
        content = part.get("content", {}).get(_JSON)
        if content and "example" not in content:
            content["example"] = examples.of(content["schema"], components)


def _complete_parameters(operation: Json) -> None:
    """Add examples of ids, and remove `Accept`, which OpenAPI expresses by the content of the responses; in place."""
    parameters = [each for each in operation.pop("parameters", []) if each["name"].lower() != "accept"]
    for parameter in parameters:
        if example := _IDS.get(parameter["name"]):
            parameter["example"] = example
    if parameters:
        operation["parameters"] = parameters


def _webhook(event: EventType) -> Json:
    """Request that a webhook endpoint receives for this event, after Standard Webhooks."""
    data = samples.ENDED if event == "run.ended" else samples.TOLD
    body = {"type": event, "timestamp": samples.AT, "url": f"https://dossier.example.com/runs/{samples.RUN}"}
    schema = {
        "type": "object",
        "required": ["type", "timestamp", "url", "data"],
        "properties": {
            "type": {"const": event},
            "timestamp": {"type": "string", "format": "date-time"},
            "url": {"type": "string", "description": "The page of the run. Opening it decides nothing."},
            "data": _ref(f"{_CONTRACT}{WebhookData.__name__}"),
        },
    }
    headers = ("webhook-id", "webhook-timestamp", "webhook-signature")
    return {
        "post": {
            "summary": f"{event}, signed after Standard Webhooks 1.0",
            "parameters": [
                {"name": name, "in": "header", "required": True, "schema": {"type": "string"}} for name in headers
            ],
            "requestBody": {
                "required": True,
                "content": {_JSON: {"schema": schema, "example": msgspec.to_builtins(body | {"data": data})}},
            },
            "responses": {
                "2XX": {"description": "Taken. Anything else is tried again, for about 75 hours."},
                "410": {"description": "Gone: nothing more is sent here."},
            },
        }
    }


def _report_content() -> Json:
    """Response content of a report, as Markdown and as JSON."""
    body = examples.report()
    schema = {
        "type": "object",
        "required": list(body),
        "properties": {
            "run_id": {"type": "string"},
            "digest": {"type": "string"},
            "report": _ref(f"{_CONTRACT}{Report.__name__}"),
            "markdown": {"type": "string"},
        },
    }
    return {
        "text/markdown": {"schema": {"type": "string"}, "example": body["markdown"]},
        _JSON: {"schema": schema, "example": body},
    }


def _contract_schemas() -> Json:
    """JSON schemas of reports and webhook bodies, by name."""
    template = f"#/components/schemas/{_CONTRACT}{{name}}"
    return {f"{_CONTRACT}{name}": schema for name, schema in schemas([Report, WebhookData], template).items()}


def _ref(name: str) -> Json:
    """Reference to a schema of the description."""
    return {"$ref": f"#/components/schemas/{name}"}
