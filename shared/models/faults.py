"""What the SDK raised, in this project's words. Statuses and codes decide; message texts are only passed on. Pure."""

import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

from openai import APIConnectionError, APIStatusError, APITimeoutError, OpenAIError

from shared.errors import StepError, Terminal, Throttled, Transient

DEFAULT_WAIT_S: Final = 5.0
"""How long a 429 waits that does not say how long."""

TOO_LONG: Final = "context_length_exceeded"
"""The code of a prompt that the model has no room for."""
MAY_BE_TOO_LONG: Final = (TOO_LONG, "too_large", "bad_request")
"""Codes behind which that may be: some servers say no more than 400 or 413."""
MAY_BE_PAID: Final = ("timeout", "bad_response")
"""Codes of a call that the endpoint may well have performed, and charge for, although no usage came back."""

_TOO_LONG: Final = {TOO_LONG, "exceed_context_size_error"}
_QUOTA: Final = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
_MAY_PASS: Final = {408, 409, 425}
_CODES: Final = {400: "bad_request", 401: "unauthorized", 403: "forbidden", 404: "not_found", 413: "too_large"}
_MAX_TOLD: Final = 300


def step_error(error: OpenAIError, *, model: str, secret: str = "") -> StepError:
    """Whose fault `error` is. `secret` is blotted out of what the endpoint says, which may quote it."""
    match error:
        case APITimeoutError():
            return timed_out(model)
        case APIConnectionError():
            return Transient("connection", f"No connection to the endpoint of {model}.")
        case APIStatusError():
            return _status_error(error, _told(error, model, secret))
        case _:
            return Transient("model_error", f"The call of {model} failed: {type(error).__name__}.")


def timed_out(model: str) -> Transient:
    """The answer of `model` did not come in time."""
    return Transient("timeout", f"{model} did not answer in time.")


def _status_error(error: APIStatusError, told: str) -> StepError:
    status, headers = error.status_code, error.response.headers
    if status == 402 or {error.code, error.type} & _QUOTA:
        return Terminal("quota_exhausted", told)
    if status == 429:
        return Throttled("throttled", told, retry_after=retry_after(headers) or DEFAULT_WAIT_S)
    wait = retry_after(headers)
    if status == 503 and wait:
        return Throttled("unavailable", told, retry_after=wait)
    if status >= 500 or status in _MAY_PASS:
        return Transient("server_error", told)
    if {error.code, error.type} & _TOO_LONG:
        return Terminal(TOO_LONG, told)
    if error.code == "content_filter":
        return Terminal(error.code, told)
    return Terminal(_CODES.get(status, "refused"), told)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that a response asks to wait: in milliseconds, in seconds or until a date; `None` without any.

    A date counts from the response's own `Date`, so no clock of ours has to agree with theirs.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        seconds = _number(headers.get(name, "")) * unit
        if math.isfinite(seconds) and seconds > 0:
            return seconds
    return _until(headers.get("retry-after", ""), headers.get("date", ""))


def _until(then: str, now: str) -> float | None:
    try:
        seconds = (parsedate_to_datetime(then) - parsedate_to_datetime(now)).total_seconds()
    except (TypeError, ValueError):
        return None
    return seconds if seconds > 0 else None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _told(error: APIStatusError, model: str, secret: str) -> str:
    code = f", {error.code}" if error.code else ""
    said = " ".join(_said(error.body).split())
    said = said.replace(secret, "…") if secret else said
    return f"The endpoint of {model} answered {error.status_code}{code}: {said[:_MAX_TOLD] or 'without a word'}"


def _said(body: object) -> str:
    match body:
        case {"message": str(message)}:
            return message
        case str(text):
            return text
        case _:
            return ""
