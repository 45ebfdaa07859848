"""What people send with forms, as what the API takes: the same checks, and the same words for what is wrong."""

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
    """The fields of a form, as text; what is blank is not there."""

    def __init__(self, data: FormData) -> None:
        self._data = data

    def text(self, name: str) -> str:
        """The field without space around it; empty where it is missing."""
        return next(iter(self.all(name)), "")

    def all(self, name: str) -> list[str]:
        """Every value of a field."""
        values = [value for value in self._data.getlist(name) if isinstance(value, str)]
        return [value.strip() for value in values if value.strip()]

    def lines(self, name: str) -> list[str]:
        """The lines of a field."""
        return [line.strip() for value in self.all(name) for line in value.splitlines() if line.strip()]


async def form_of(request: Request) -> Form:
    """The form in a request."""
    return Form(await request.form(max_files=0, max_fields=_FIELDS))


def new_run(form: Form) -> NewRun:
    """The question that is asked."""
    return _checked(
        NewRun,
        q=form.text("q"),
        approval=form.text("approval") or "required",
        approval_timeout=form.text("approval_timeout") or None,
        max_cost_usd=_dollars(form.text("max_cost_usd")),
    )


def new_approval(form: Form, digest: str, sources: Collection[str] = ()) -> NewApproval:
    """The decision on the evidence with this digest. Of these `sources` of the run, those not kept are left out.

    Raises the problem of a form that does not say what it is on: the API may do without, a page never does.
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
    """More time, from the deadline on that the page shows: sent twice, it is given once."""
    digest = _digest(form.text("digest"))
    more = timedelta(seconds=requests.parse_duration_s(form.text("more"), "more"))
    try:
        deadline = datetime.fromisoformat(form.text("deadline")) + more
    except (ValueError, OverflowError) as error:
        text = "deadline: the form does not say until when the run waits."
        raise ProblemError("invalid_field", text, field="deadline") from error
    return _checked(NewExtension, deadline=deadline, comment=form.text("comment"), digest=digest)


def new_fork(form: Form) -> NewFork:
    """How a run is done over."""
    return _checked(NewFork, step=form.text("from") or None)


def key_of(form: Form) -> str | None:
    """The `Idempotency-Key` of what the form asks for: sent twice it is one thing, changed meanwhile another."""
    key = form.text("key")
    if not key:
        return None
    said = "\0".join((key, form.text("q"), form.text("from")))
    return sha256(said.encode("utf-8", "replace")).hexdigest()[:32]


def _digest(digest: str) -> str:
    if not digest:
        text = "Nothing was decided: the decision did not say which evidence it is on."
        raise ProblemError("digest_required", text, field="digest")
    return digest


def _dollars(text: str) -> str | None:
    return text.removeprefix("$").strip() or None


def _checked(body: type[Body], **values: object) -> Body:
    try:
        return body.model_validate(values)
    except ValidationError as error:
        raise _problem(error) from error


def _problem(error: ValidationError) -> ProblemError:
    return invalid_field(error.errors()[0])
