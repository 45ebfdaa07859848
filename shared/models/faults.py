"""Errors of the SDK as Dossier's errors. Status and code decide; texts are only passed on. Pure."""

from typing import Final

from openai import APIConnectionError, APIStatusError, APITimeoutError, OpenAIError

from shared.errors import StepError, Terminal, Throttled, Transient
from shared.runtime.headers import retry_after_s

DEFAULT_WAIT_S: Final = 5.0
"""Seconds to wait after a 429 without `Retry-After`."""

TOO_LONG: Final = "context_length_exceeded"
"""The code of a prompt that the model has no room for."""
MAY_BE_TOO_LONG: Final = (TOO_LONG, "too_large", "bad_request")
"""Codes that may stand for a prompt that is too long: some servers answer just 400 or 413."""
MAY_BE_PAID: Final = ("timeout", "bad_response")
"""Codes of a call that the endpoint may well have performed, and charge for, although no usage came back."""

_TOO_LONG: Final = {TOO_LONG, "exceed_context_size_error"}
_QUOTA: Final = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
_MAY_PASS: Final = {408, 409, 425}
_CODES: Final = {400: "bad_request", 401: "unauthorized", 403: "forbidden", 404: "not_found", 413: "too_large"}
_MAX_TEXT: Final = 300


def step_error(error: OpenAIError, *, model: str, secret: str = "") -> StepError:
    """Return the `StepError` for `error`. `secret` is masked in the endpoint's text, which may quote it."""
    match error:
        case APITimeoutError():
            return timeout_error(model)
        case APIConnectionError():
            return Transient("connection", f"No connection to the endpoint of {model}.")
        case APIStatusError():
            return _status_error(error, _message_of(error, model, secret))
        case _:
            return Transient("model_error", f"The call of {model} failed before an answer came.")


def timeout_error(model: str) -> Transient:
    """Return the error of a model that did not answer in time."""
    return Transient("timeout", f"{model} did not answer in time.")


def _status_error(error: APIStatusError, text: str) -> StepError:
    """Return the `StepError` for an HTTP status.

    402 and exhausted quotas are `Terminal`, 429 and 503 with `Retry-After` `Throttled`, 5xx, 408, 409 and 425
    `Transient`, all others `Terminal`.
    """
    status, names = error.status_code, {str(error.code), str(error.type)}
    wait = retry_after_s(error.response.headers)
    if status == 402 or names & _QUOTA:
        return Terminal("quota_exhausted", text)
    if status == 429:
        return Throttled("throttled", text, retry_after=wait or DEFAULT_WAIT_S)
    if status == 503 and wait:
        return Throttled("unavailable", text, retry_after=wait)
    if status >= 500 or status in _MAY_PASS:
        return Transient("server_error", text)
    if names & _TOO_LONG:
        return Terminal(TOO_LONG, text)
    if error.code == "content_filter":
        return Terminal("content_filter", text)
    return Terminal(_CODES.get(status, "refused"), text)


def _message_of(error: APIStatusError, model: str, secret: str) -> str:
    """Return a sentence with the status, the code and the endpoint's text on one line, cut and with `secret` masked."""
    code = f", {error.code}" if error.code else ""
    message = " ".join(_body_message(error.body).split())
    message = message.replace(secret, "…") if secret else message
    return f"The endpoint of {model} answered {error.status_code}{code}: {message[:_MAX_TEXT] or 'no message'}"


def _body_message(body: object) -> str:
    """Return the message in an error body, `""` if there is none."""
    match body:
        case {"message": str(message)}:
            return message
        case str(text):
            return text
        case _:
            return ""
