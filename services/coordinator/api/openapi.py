"""The description of the HTTP API, complete: what every operation takes, gives and refuses, with examples.

`make docs` writes it to `docs/reference/openapi.json`. An operation that is not named here is described all the same:
by its types, by an example made from them, and by the answers that every operation may give.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from fastapi import FastAPI

from services.coordinator.api import examples
from services.coordinator.http import problems
from services.coordinator.http.problems import ProblemError
from shared.contracts import samples
from shared.contracts.deliveries import EVENT_TYPES, EventType, Told
from shared.contracts.evidence import Report
from shared.contracts.schemas import schemas

Json = dict[str, Any]

SEQUENCE: Final = "Dossier-Sequence"
PROBLEM: Final = "application/problem+json"
_JSON: Final = "application/json"
_CONTRACT: Final = "contract."
"""Schemas that are generated from the published language are named so, apart from those of the API's own."""

FAULTS: Final[Mapping[str, tuple[int, str]]] = {
    "bad_request": (400, "There was an error parsing the body"),
    "invalid_field": (422, "limit: Input should be less than or equal to 200."),
    "idempotency_key_reused": (422, "This Idempotency-Key was used for another question; take another key."),
    "unknown_source": (422, f"exclude: {'0' * 64} is no source of run {samples.RUN}."),
    "nothing_left": (422, "exclude: no source is left to write from; reject the run instead."),
    "unknown_run": (404, f"There is no run {samples.RUN}."),
    "unknown_delivery": (404, f"There is no delivery {samples.DELIVERY.id}."),
    "not_held": (409, f"Run {samples.RUN} is not on hold yet; it is fetching."),
    "decided": (409, f"Run {samples.RUN} is decided: approved by bob at 2026-01-02T03:04:11+00:00."),
    "too_late": (409, f"The time to decide on run {samples.RUN} ended at 2026-01-02T05:04:05+00:00."),
    "not_later": (409, f"deadline: run {samples.RUN} waits until 2026-01-02T05:04:05+00:00; it can wait longer."),
    "too_long": (422, f"deadline: run {samples.RUN} can wait until 2027-01-03T03:04:05+00:00 at most."),
    "not_that_far": (409, f"Run {samples.RUN} has recorded nothing before synthesize yet; fork it from plan."),
    "unfit_edit": (422, "fork.q: another question can be asked from plan only."),
    "unknown_query": (422, "queries_drop: no sub-query of the round is called that."),
    "last_round": (409, f"Run {samples.RUN} has had all its rounds; approve or reject it."),
    "over_budget": (409, f"The report could cost more than run {samples.RUN} may; approve it with a max_cost_usd."),
    "no_report": (409, f"Run {samples.RUN} has no report: hold"),
    "not_tried": (409, f"Delivery {samples.DELIVERY.id} has not been tried yet."),
    "asked_too_often": (409, f"Delivery {samples.DELIVERY.id} was asked for 10 times."),
    "stale_digest": (412, f"The evidence of run {samples.RUN} is not what this was decided on."),
    "digest_required": (428, "Decisions must name the digest of the evidence they are on."),
    "no_auto": (422, "approval: auto is not taken here, since approvals need a verified person; use required."),
    "not_you": (422, "by: this key speaks for ann, not for bob; leave the field out."),
    "unauthenticated": (401, "This takes a valid key, as in Authorization: Bearer dsr_…"),
    "forbidden": (403, "This takes the role approver (to decide); ann comes as viewer."),
    "cross_site": (403, "Another site sent this; open the page here and do it there."),
    "csrf": (403, "This needs the token of the session, in the header X-CSRF-Token or the field csrf."),
    "unidentified": (403, f"It matters who approves run {samples.RUN}, and nothing vouches for 'bob'."),
    "requester_unknown": (403, f"Nobody can approve run {samples.RUN}: who asked is not known."),
    "four_eyes": (403, f"Run {samples.RUN} was asked for by ann; another person has to approve it."),
    "not_yours": (403, f"Run {samples.RUN} is not yours; an approver may cancel it."),
    "voted": (409, f"bob has approved run {samples.RUN} already; others have to as well."),
    "unknown_host": (421, "This is not a name that Dossier goes by here; DOSSIER_HOSTS lists those that it does."),
    "too_many": (429, "Too many attempts; try again in 3 s."),
    "defect": (500, "Something went wrong here; the log says what."),
    "nats_refused": (502, "message size exceeds maximum allowed (10054)"),
    "nats_unavailable": (503, "NATS gave no answer within 5 s. It is safe to repeat the request."),
}
"""Every error: its status, and what it may say."""

_NAMES: Final = {"run_id": samples.RUN, "delivery_id": samples.DELIVERY.id}
_ALWAYS: Final = (
    *("invalid_field", "unauthenticated", "forbidden", "unknown_host", "too_many"),
    *("defect", "nats_refused", "nats_unavailable"),
)
_UNSAFE: Final = ("cross_site", "csrf")
"""Of whatever changes something."""
_BY_PATH: Final[Mapping[str, str]] = {"{run_id}": "unknown_run", "{delivery_id}": "unknown_delivery"}
_OWN: Final[Mapping[tuple[str, str], Sequence[str]]] = {
    ("post", "/v1/runs"): ("idempotency_key_reused", "no_auto", "not_you"),
    ("get", "/v1/runs"): (),
    ("get", "/v1/runs/{run_id}"): (),
    ("get", "/v1/runs/{run_id}/events"): (),
    ("get", "/v1/runs/{run_id}/report"): ("no_report",),
    ("post", "/v1/runs/{run_id}/approvals"): (
        "not_held",
        "decided",
        "too_late",
        "stale_digest",
        "digest_required",
        "unknown_source",
        "nothing_left",
        "unknown_query",
        "last_round",
        "over_budget",
        "unidentified",
        "requester_unknown",
        "four_eyes",
        "voted",
        "not_you",
    ),
    ("post", "/v1/runs/{run_id}/extension"): (
        "not_held",
        "decided",
        "too_late",
        "stale_digest",
        "not_later",
        "too_long",
        "not_you",
    ),
    ("post", "/v1/runs/{run_id}/cancel"): ("decided", "not_yours", "not_you"),
    ("post", "/v1/sign-in-links"): (),
    ("get", "/v1/failures"): (),
    ("get", "/v1/runs/{run_id}/why"): (),
    ("post", "/v1/runs/{run_id}/fork"): (
        "idempotency_key_reused",
        "not_that_far",
        "unfit_edit",
        "no_auto",
        "not_you",
    ),
    ("post", "/v1/forks"): ("idempotency_key_reused", "not_you"),
    ("get", "/v1/deliveries"): (),
    ("post", "/v1/deliveries/{delivery_id}/resend"): ("not_tried", "asked_too_often", "not_you"),
}
"""What an operation refuses beyond what each one does. One that is not here keeps an answer for any error."""


def describe(app: FastAPI) -> None:
    """Have `app` describe itself in full."""
    brief = app.openapi
    made: list[Json] = []

    def in_full() -> Json:
        if not made:
            made.append(_completed(brief()))
        return made[0]

    app.openapi = in_full


def _completed(document: Json) -> Json:
    """What FastAPI knows, with what it does not."""
    components: Json = document["components"]["schemas"]
    for name, schema in _contract_schemas().items():
        components[name] = schema
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _complete(method, path, operation, components)
    for name in ("HTTPValidationError", "ValidationError"):
        components.pop(name, None)
    return document | {
        "info": document["info"]
        | {
            "description": "Ask, watch, decide. Every answer has `Dossier-Sequence`, the place in the log that it was "
            "made from; a GET that sends one waits up to two seconds for it. Errors are problem details (RFC 9457): "
            "`code` decides, `detail` explains.",
            "license": {"name": "MIT"},
        },
        "servers": [{"url": "http://127.0.0.1:8400", "description": "As `dossier up` runs it."}],
        "webhooks": {event: _webhook(event) for event in EVENT_TYPES},
    }


def _complete(method: str, path: str, operation: Json, components: Json) -> None:
    _complete_parameters(operation)
    body = operation.get("requestBody", {}).get("content", {}).get(_JSON)
    if body:
        body["example"] = examples.of(body["schema"], components)
    responses: Json = operation["responses"]
    if method == "get" and path.endswith("/report"):
        responses["200"]["content"] = _report_content()
    if method == "get" and path.endswith("/events"):
        responses["200"]["content"]["text/event-stream"] = {
            "schema": {"type": "string"},
            "example": examples.event_stream(),
        }
    for status, response in responses.items():
        if status.startswith("2"):
            _complete_success(status, path, response, components)
    responses.pop("422", None)
    if (method, path) in _OWN:
        responses.pop("default", None)
    elif "default" in responses:
        responses["default"]["content"] = {PROBLEM: {"schema": _ref("Problem"), "example": _problem("defect")}}
    codes = ["bad_request"] if body else []
    codes += [
        *_ALWAYS,
        *(_UNSAFE if method != "get" else ()),
        *(code for part, code in _BY_PATH.items() if part in path),
        *_OWN.get((method, path), ()),
    ]
    responses.update(_refusals(codes))


def _complete_parameters(operation: Json) -> None:
    """With an example of what names a thing, and without `Accept`: the answers say what there is to ask for."""
    parameters = [each for each in operation.get("parameters", []) if each["name"].lower() != "accept"]
    for parameter in parameters:
        if example := _NAMES.get(parameter["name"]):
            parameter["example"] = example
    if parameters:
        operation["parameters"] = parameters
    else:
        operation.pop("parameters", None)


def _complete_success(status: str, path: str, response: Json, components: Json) -> None:
    response["description"] = problems.phrase(int(status))
    response["headers"] = {SEQUENCE: {"schema": {"type": "integer"}, "description": "How far the log is folded."}}
    if status == "202" and path == "/v1/runs":
        response["headers"]["Location"] = {"schema": {"type": "string"}, "description": "Where the run is."}
    content = response.get("content", {}).get(_JSON)
    if content and "example" not in content:
        content["example"] = examples.of(content["schema"], components)


def _refusals(codes: Sequence[str]) -> Json:
    """The error answers, by status; each with an example of every code that has it."""
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(FAULTS[code][0], []).append(code)
    return {
        str(status): {
            "description": f"{problems.phrase(status)}: {', '.join(f'`{code}`' for code in sorted(same))}",
            "content": {
                PROBLEM: {
                    "schema": _ref("Problem"),
                    "examples": {code: {"value": _problem(code)} for code in sorted(same)},
                }
            },
        }
        for status, same in sorted(by_status.items())
    }


def _problem(code: str) -> Json:
    status, detail = FAULTS[code]
    return ProblemError(status, code, detail).problem.model_dump(exclude_none=True)


def _webhook(event: EventType) -> Json:
    """What a receiver of Standard Webhooks gets."""
    data = samples.ENDED if event == "run.ended" else samples.TOLD
    body = {"type": event, "timestamp": samples.AT, "url": f"https://dossier.example.com/runs/{samples.RUN}"}
    schema = {
        "type": "object",
        "required": ["type", "timestamp", "url", "data"],
        "properties": {
            "type": {"const": event},
            "timestamp": {"type": "string", "format": "date-time"},
            "url": {"type": "string", "description": "The page of the run. Opening it decides nothing."},
            "data": _ref(f"{_CONTRACT}{Told.__name__}"),
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
    template = f"#/components/schemas/{_CONTRACT}{{name}}"
    return {f"{_CONTRACT}{name}": schema for name, schema in schemas([Report, Told], template).items()}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}
