"""HTML forms as request bodies of the API, with the same checks and messages."""

from collections.abc import Collection
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData

from services.coordinator.http.problems import ProblemError, invalid_field
from shared.api.schemas import NewApproval, NewExtension, NewRun
from shared.api.views import NewFork
from shared.contracts import requests

_FIELDS: Final = 2_000
Body = TypeVar("Body", bound=BaseModel)


class Form:
    """Text fields of a form. Blank values and files are left out."""

    def __init__(self, data: FormData) -> None:
        self._data = data

    def text(self, name: str) -> str:
        """First value of the field, stripped; empty if it is missing."""
        return next(iter(self.all(name)), "")

    def all(self, name: str) -> list[str]:
        """All values of the field, stripped."""
        values = [value for value in self._data.getlist(name) if isinstance(value, str)]
        return [value.strip() for value in values if value.strip()]

    def lines(self, name: str) -> list[str]:
        """Non-blank lines of all values of the field, stripped."""
        return [line.strip() for value in self.all(name) for line in value.splitlines() if line.strip()]


async def form_of(request: Request) -> Form:
    """The form in a request. Raises `HTTPException` (400) beyond 2,000 fields or if it has a file."""
    return Form(await request.form(max_files=0, max_fields=_FIELDS))


def new_run(form: Form) -> NewRun:
    """The question of a form. Raises `ProblemError` (`invalid_field`)."""
    return _checked(
        NewRun,
        q=form.text("q"),
        approval=form.text("approval") or "required",
        approval_timeout=form.text("approval_timeout") or None,
        max_cost_usd=_dollars(form.text("max_cost_usd")),
    )


def new_approval(form: Form, digest: str, sources: Collection[str] = ()) -> NewApproval:
    """The decision of a form on the evidence with this digest; those of the run's `sources` that are not ticked are
    excluded, except by a rejection.

    Raises `ProblemError`: `digest_required` if the form has no digest (the API can be configured to accept that, a page
    never does), `invalid_field`.
    """
    decision = form.text("decision")
    less = [] if decision == "reject" else sorted(set(sources) - set(form.all("keep")))
    revision = {
        "feedback": form.text("feedback"),
        "queries_add": form.lines("add"),
        "queries_drop": form.all("drop"),
    }
    return _checked(
        NewApproval,
        decision=decision,
        comment=form.text("comment"),
        digest=_digest(digest),
        exclude=less,
        max_cost_usd=_dollars(form.text("max_cost_usd")) if decision != "reject" else None,
        **(revision if decision == "revise" else {}),
    )


def new_extension(form: Form) -> NewExtension:
    """The extension of a form: `more` beyond the deadline that the page showed, so that sending it twice extends once.

    Raises `ProblemError` (`digest_required`, `invalid_field`) and `InvalidMessage` for a duration that cannot be read.
    """
    digest = _digest(form.text("digest"))
    more = timedelta(seconds=requests.parse_duration_s(form.text("more"), "more"))
    try:
        deadline = datetime.fromisoformat(form.text("deadline")) + more
    except (ValueError, OverflowError) as error:
        text = "deadline: the form does not say until when the run waits."
        raise ProblemError("invalid_field", text, field="deadline") from error
    return _checked(NewExtension, deadline=deadline, comment=form.text("comment"), digest=digest)


def new_fork(form: Form) -> NewFork:
    """The fork of a form, from the step that it names. Raises `ProblemError` (`invalid_field`)."""
    return _checked(NewFork, step=form.text("from") or None)


def idempotency_key(form: Form) -> str | None:
    """Idempotency key in hex: the same for one rendered page and content; None if the form has no field `key`."""
    key = form.text("key")
    if not key:
        return None
    said = "\0".join((key, form.text("q"), form.text("from")))
    return sha256(said.encode("utf-8", "replace")).hexdigest()[:32]


def _digest(digest: str) -> str:
    """The digest, unchanged. Raises `ProblemError` (`digest_required`) if it is empty."""
    if not digest:
        text = "Nothing was decided: the decision did not say which evidence it is on."
        raise ProblemError("digest_required", text, field="digest")
    return digest


def _dollars(text: str) -> str | None:
    """The amount without a leading `$`; None if it is empty."""
    return text.removeprefix("$").strip() or None


def _checked(body: type[Body], **values: object) -> Body:
    """A body with these values. Raises `ProblemError` (`invalid_field`) for the first one that is not valid."""
    try:
        return body.model_validate(values)
    except ValidationError as error:
        raise _problem(error) from error


def _problem(error: ValidationError) -> ProblemError:
    return invalid_field(error.errors()[0])
