"""Errors as RFC 9457 problem details."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response

from services.coordinator.engine.requests import RequestError
from services.coordinator.http.rights import Rights
from shared.api.schemas import Problem
from shared.contracts.errors import CATALOGUE
from shared.domain.judgement import Reject, describe_winner
from shared.domain.roles import Principal
from shared.domain.run import Run
from shared.errors import DossierError, InvalidMessage, LogFull, Refused, TooLarge, Unavailable


class ProblemError(Exception):
    """Ends a request with the problem that `code` names in the catalogue; `more` are further members of `Problem`.

    Raises `KeyError` for a code that is not in the catalogue.
    """

    def __init__(self, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **more: str | None) -> None:
        super().__init__(detail)
        error = CATALOGUE[code]
        self.status = error.status
        self.headers = headers or {}
        self.problem = Problem(
            type=f"urn:dossier:problem:{code}",
            title=error.title,
            status=error.status,
            detail=detail,
            code=code,
            **more,
        )


def rejected(reason: Reject, run: Run | None) -> ProblemError:
    """Problem of a decision that was rejected, with the state of its run, and the decision that stands if there is one.

    The caller raises it.
    """
    is_decided = run is not None and (run.current.decision or run.completed)
    return ProblemError(
        reason.code,
        reason.message,
        run_id=run.id if run else None,
        state=run.status if run else None,
        winner=describe_winner(run) if run and is_decided else None,
        field=reason.field or None,
    )


def acting_name(who: Principal, claimed: str | None, field: str) -> str:
    """Name in which `who` acts: their own. Only the token of the data folder may claim another one.

    Raises `ProblemError` (`not_you`, with `field`) if a key claims a name that is not its own.
    """
    name = (claimed or "").strip()
    if name and name != who.name and not who.is_local:
        text = f"{field}: this key speaks for {who.name}, not for {name}; leave the field out."
        raise ProblemError("not_you", text, field=field)
    return name or who.name


def unknown_run(run_id: str) -> ProblemError:
    """Problem of a run that does not exist. The caller raises it."""
    return ProblemError("unknown_run", f"There is no run {run_id}.", run_id=run_id)


Respond = Callable[[HTTPConnection, ProblemError], Response]
"""Renders a problem as the response to a request: as problem details or as a page."""


def wants_page(http: HTTPConnection) -> bool:
    """Return True if the request accepts HTML and is not to a path of the JSON API."""
    return "text/html" in http.headers.get("accept", "") and not http.scope["path"].startswith("/v1/")


def install(app: FastAPI, respond: Respond, rights: Rights) -> None:
    """Have `app` answer every error with a problem; 405 with the methods that `rights` lists for the path."""

    async def answer(request: Request, error: Exception) -> Response:
        problem = problem_of(error)
        if problem.status == HTTPStatus.METHOD_NOT_ALLOWED:
            problem.headers = {"Allow": ", ".join(rights.allowed_methods(request.url.path))}
        return respond(request, problem)

    for type_ in _CONVERTERS:
        app.add_exception_handler(type_, answer)


def problem_of(error: Exception) -> ProblemError:
    """Problem that an error is for the client: `defect` (500) for a type that is not expected."""
    return next(
        (convert(error) for type_, convert in _CONVERTERS.items() if isinstance(error, type_)), internal_error()
    )


def problem_response(error: ProblemError) -> JSONResponse:
    """Response with the problem as `application/problem+json`; members that are None are left out."""
    body = error.problem.model_dump(exclude_none=True)
    return JSONResponse(body, error.status, headers=error.headers, media_type="application/problem+json")


def internal_error() -> ProblemError:
    """Problem of a bug in Dossier. The caller logs the cause."""
    return ProblemError("defect", "Internal error. The log of the coordinator has the cause.")


def invalid_field(error: Mapping[str, Any]) -> ProblemError:
    """Problem of one error in the form of pydantic's `errors()`: the field is its `loc`, joined by dots."""
    field = ".".join(str(part) for part in error["loc"])
    return ProblemError("invalid_field", f"{field or 'body'}: {error['msg']}.", field=field or None)


def _invalid_request(error: RequestValidationError) -> ProblemError:
    """Problem of the first error in a request; its place is given without `body`, `query` and the like."""
    first = error.errors()[0]
    return invalid_field(first | {"loc": first["loc"][1:]})


def _http_problem(error: HTTPException) -> ProblemError:
    """Problem of an error that the framework raised; statuses other than 404 and 405 become 400."""
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "bad_request")
    return ProblemError(code, error.detail, headers=error.headers)


_REPEAT: Final = {
    "log_full": " The run did not begin; when there is room, repeat with Idempotency-Key: ",
    "nats_unavailable": " Whether the run began is not known; repeat with Idempotency-Key: ",
}
"""Remedy for a request that was not published; the key to repeat it with follows."""


def _not_published(error: RequestError) -> ProblemError:
    """Problem of a request that was refused, or of which it is not known whether it is stored.

    Where repeating helps, the detail ends with the idempotency key to repeat it with.
    """
    repeat = f"{_REPEAT[error.code]}{error.run_id}" if error.code in _REPEAT else ""
    return ProblemError(error.code, f"{error}{repeat}", run_id=error.run_id, field=error.field)


_CONVERTERS: Final[dict[type[Exception], Callable[[Any], ProblemError]]] = {
    ProblemError: lambda error: error,
    RequestValidationError: _invalid_request,
    InvalidMessage: lambda error: ProblemError(error.code, error.message, field=error.field or None),
    RequestError: _not_published,
    LogFull: lambda error: ProblemError(
        "log_full", f"{error} Nothing was written; repeat the request when there is room."
    ),
    TooLarge: lambda error: ProblemError("too_large", str(error)),
    Unavailable: lambda error: ProblemError("nats_unavailable", f"{error} It is safe to repeat the request."),
    Refused: lambda error: ProblemError("nats_refused", str(error)),
    HTTPException: _http_problem,
}
"""How each error becomes a problem. The first type that fits counts, so that subclasses stand first."""
REFUSALS: Final = (ProblemError, DossierError)
"""Errors of an operation that a page shows to its reader."""
