"""Errors as RFC 9457 problem details."""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response

from services.coordinator.engine.requests import RequestError
from services.coordinator.http import rights
from shared.api.schemas import Problem
from shared.domain.judgement import Reject, describe_winner
from shared.domain.roles import Principal
from shared.domain.run import Run
from shared.errors import DossierError, InvalidMessage, LogFull, Refused, TooLarge, Unavailable

STATUS: Final = {
    "unknown_run": 404,
    "not_held": 409,
    "decided": 409,
    "too_late": 409,
    "not_later": 409,
    "too_long": 422,
    "stale_digest": 412,
    "digest_required": 428,
    "unknown_source": 422,
    "nothing_left": 422,
    "not_that_far": 409,
    "unfit_edit": 422,
    "unknown_query": 422,
    "last_round": 409,
    "over_budget": 409,
    "no_auto": 422,
    "unidentified": 403,
    "requester_unknown": 403,
    "four_eyes": 403,
    "not_yours": 403,
    "voted": 409,
}


_PHRASES: Final = {413: "Content Too Large", 422: "Unprocessable Content"}
"""What RFC 9110 calls them; older releases of Python have older names."""


def phrase(status: int) -> str:
    """What a status is called."""
    return _PHRASES.get(status) or HTTPStatus(status).phrase


class ProblemError(Exception):
    """Ends a request with a problem."""

    def __init__(self, status: int, code: str, detail: str, **more: str | None) -> None:
        super().__init__(detail)
        self.status = status
        self.headers: Mapping[str, str] = {}
        self.problem = Problem(
            type=f"urn:dossier:problem:{code}",
            title=phrase(status),
            status=status,
            detail=detail,
            code=code,
            **more,
        )


def rejected(why: Reject, run: Run | None) -> ProblemError:
    """A decision that was not taken, with the state of its run and who won."""
    decided = run is not None and (run.current.decision or run.completed)
    return ProblemError(
        STATUS.get(why.code, 422),
        why.code,
        why.message,
        run_id=run.id if run else None,
        state=run.status if run else None,
        winner=describe_winner(run) if run and decided else None,
        field=why.field or None,
    )


def acting_name(who: Principal, said: str | None, field: str) -> str:
    """In whose name this is done: the caller's. Only the token of the data folder may be used by any name."""
    name = (said or "").strip()
    if name and name != who.name and not who.is_local:
        text = f"{field}: this key speaks for {who.name}, not for {name}; leave the field out."
        raise ProblemError(422, "not_you", text, field=field)
    return name or who.name


def unknown_run(run_id: str) -> ProblemError:
    """Nobody knows this run."""
    return ProblemError(404, "unknown_run", f"There is no run {run_id}.", run_id=run_id)


def log_full(detail: str, **more: str | None) -> ProblemError:
    """NATS has no room for what was asked."""
    return ProblemError(507, "log_full", detail, **more)


Render = Callable[[HTTPConnection, ProblemError], Response]
"""How whoever asked is told of a problem."""


def wants_page(http: HTTPConnection) -> bool:
    """Whether somebody reads the answer with their own eyes."""
    return "text/html" in http.headers.get("accept", "") and not http.scope["path"].startswith("/v1/")


def install(app: FastAPI, tell: Render) -> None:
    """Answer every error of `app` with a problem."""
    for type_ in _CONVERTED:
        app.add_exception_handler(type_, _answering(tell))


def problem_of(error: Exception) -> ProblemError:
    """The problem that an error is to whoever asked."""
    return next((convert(error) for type_, convert in _CONVERTED.items() if isinstance(error, type_)), internal_error())


def _answering(tell: Render) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answered(request: Request, error: Exception) -> Response:
        problem = problem_of(error)
        if problem.status == HTTPStatus.METHOD_NOT_ALLOWED:
            problem.headers = {"Allow": ", ".join(rights.allowed_methods(request.url.path))}
        return tell(request, problem)

    return answered


def problem_response(error: ProblemError) -> JSONResponse:
    """The problem as a response."""
    body = error.problem.model_dump(exclude_none=True)
    return JSONResponse(body, error.status, headers=error.headers, media_type="application/problem+json")


def internal_error() -> ProblemError:
    """Our own fault."""
    return ProblemError(500, "defect", "Something went wrong here; the log says what.")


def _itself(error: Exception) -> ProblemError:
    assert isinstance(error, ProblemError)
    return error


def _invalid_body(error: Exception) -> ProblemError:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return invalid_field(first | {"loc": first["loc"][1:]})


def invalid_field(error: Mapping[str, Any]) -> ProblemError:
    """What pydantic says is wrong with a field."""
    field = ".".join(str(part) for part in error["loc"])
    return ProblemError(422, "invalid_field", f"{field or 'body'}: {error['msg']}.", field=field or None)


def _invalid_message(error: Exception) -> ProblemError:
    assert isinstance(error, InvalidMessage)
    return ProblemError(422, error.code, error.message, field=error.field or None)


_OF_REQUESTS: Final = {"no_auto": 422, "idempotency_key_reused": 422, "nats_unavailable": 503, "log_full": 507}
"""Status of each code of a `RequestError`."""
_REPEAT: Final = {
    "log_full": " The run did not begin; when there is room, repeat with Idempotency-Key: ",
    "nats_unavailable": " Whether the run began is not known; repeat with Idempotency-Key: ",
}
"""What to do about a request that was not published, before the key to repeat it with."""


def _not_published(error: Exception) -> ProblemError:
    """The problem of a request that was refused or may not be stored; where repeating helps, with the key for it."""
    assert isinstance(error, RequestError)
    repeat = f"{_REPEAT[error.code]}{error.run_id}" if error.code in _REPEAT else ""
    return ProblemError(
        _OF_REQUESTS[error.code], error.code, f"{error}{repeat}", run_id=error.run_id, field=error.field
    )


def _http(error: Exception) -> ProblemError:
    assert isinstance(error, HTTPException)
    problem = ProblemError(error.status_code, HTTPStatus(error.status_code).name.lower(), error.detail)
    problem.headers = error.headers or {}
    return problem


_CONVERTED: Final[dict[type[Exception], Callable[[Exception], ProblemError]]] = {
    ProblemError: _itself,
    RequestValidationError: _invalid_body,
    InvalidMessage: _invalid_message,
    RequestError: _not_published,
    LogFull: lambda error: log_full(f"{error} Nothing was written; repeat the request when there is room."),
    TooLarge: lambda error: ProblemError(413, "too_large", str(error)),
    Unavailable: lambda error: ProblemError(503, "nats_unavailable", f"{error} It is safe to repeat the request."),
    Refused: lambda error: ProblemError(502, "nats_refused", str(error)),
    HTTPException: _http,
}
"""The first that fits."""
REFUSALS: Final = (ProblemError, DossierError)
"""What an operation may end with that its caller can be told."""
