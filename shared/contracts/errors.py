"""Catalogue of the errors that the HTTP API answers: the only place that assigns a code its HTTP status.

A message on NATS that is refused is answered with the same codes. Codes are stable; texts may change. Pure.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from msgspec import Struct

from shared.contracts import samples

_RUN: Final = samples.RUN
_DELIVERY: Final = samples.DELIVERY.id
_PHRASES: Final = {413: "Content Too Large", 422: "Unprocessable Content"}
"""Reason phrases of RFC 9110 that Python 3.11 has under older names."""


class ApiError(Struct, frozen=True):
    """An error of the API: `code` for programs, `status` of HTTP, its meaning and remedy, and an example of `detail`.

    Without an example of its own, the meaning is the example.
    """

    code: str
    status: int
    meaning: str
    remedy: str
    detail: str = ""

    @property
    def title(self) -> str:
        """Reason phrase of the status."""
        return reason_phrase(self.status)

    @property
    def example(self) -> str:
        """Example of the `detail` of a response."""
        return self.detail or self.meaning


def reason_phrase(status: int) -> str:
    """Reason phrase of an HTTP status, after RFC 9110. Raises `ValueError` for a number that is no status."""
    return _PHRASES.get(status) or HTTPStatus(status).phrase


REQUESTS: Final = (
    ApiError("bad_request", 400, "The request body could not be parsed.", "Correct the request."),
    ApiError(
        "invalid_field",
        422,
        "A field or parameter has an invalid value; `field` names it.",
        "Correct the field.",
        "limit: Input should be less than or equal to 200.",
    ),
    ApiError("not_json", 422, "The message is not JSON.", "Correct the message."),
    ApiError(
        "bad_cloudevent",
        422,
        "The message claims to be a CloudEvent and is not a valid one.",
        "Correct the envelope.",
    ),
    ApiError(
        "too_large",
        413,
        "The body or fact exceeds its size limit.",
        "Send less.",
        "A form may have 262,144 bytes.",
    ),
    ApiError("unknown_run", 404, "There is no run with this id.", "Check the id.", f"There is no run {_RUN}."),
    ApiError("clash", 409, "The run id belongs to another request already.", "Take another `run_id`."),
    ApiError(
        "idempotency_key_reused",
        422,
        "The `Idempotency-Key` was used for another request.",
        "Take another key for another request.",
    ),
    ApiError(
        "no_auto", 422, "`approval: auto` is refused where a quorum or four-eyes applies.", "Ask with `required`."
    ),
    ApiError(
        "not_held",
        409,
        "The run is not on hold.",
        "Wait until its status is `hold`.",
        f"Run {_RUN} is not on hold yet; it is fetching.",
    ),
    ApiError(
        "decided",
        409,
        "The run is decided or has ended; `winner` names the decision.",
        "None; the first decision stands.",
        f"Run {_RUN} is decided: approved by bob at 2026-01-02T03:04:11+00:00.",
    ),
    ApiError(
        "too_late",
        409,
        "The deadline of the hold has passed.",
        "Fork the run from `synthesize` to decide again.",
        f"The time to decide on run {_RUN} ended at 2026-01-02T05:04:05+00:00.",
    ),
    ApiError(
        "stale_digest",
        412,
        "The decision names the digest of other evidence than the current evidence.",
        "Read the run again and decide on its current digest.",
    ),
    ApiError(
        "digest_required",
        428,
        "This installation requires the digest of the evidence.",
        "Send `If-Match` or `digest`.",
    ),
    ApiError(
        "unknown_source",
        422,
        "A SHA-256 in `exclude` is not a source of the run.",
        "Take it from the run's findings.",
        f"exclude: {'0' * 64} is no source of run {_RUN}.",
    ),
    ApiError("nothing_left", 422, "The decision would leave out every source.", "Reject the run, or send it back."),
    ApiError(
        "unknown_query",
        422,
        "`queries_drop` names no sub-query of the run.",
        "Take the text from the run's findings.",
    ),
    ApiError("last_round", 409, "The run has used all its rounds.", "Approve or reject it."),
    ApiError(
        "over_budget",
        409,
        "Writing the report could exceed the run's `max_cost_usd`.",
        "Approve with a higher `max_cost_usd`.",
    ),
    ApiError("not_later", 409, "The new deadline is not later than the current one.", "Send a later deadline."),
    ApiError(
        "too_long",
        422,
        "The new deadline is more than 366 days after the hold opened.",
        "Send an earlier deadline.",
    ),
    ApiError(
        "unidentified",
        403,
        "A quorum or four-eyes applies, and the name of the approver is not authenticated.",
        "Approve over HTTP with your own key.",
    ),
    ApiError(
        "requester_unknown",
        403,
        "Four-eyes applies, and the requester is not authenticated.",
        "Reject the run; ask again with a key.",
    ),
    ApiError("four_eyes", 403, "The requester of a run may not approve it.", "Have another person approve it."),
    ApiError("voted", 409, "This person has approved the run already.", "Wait for the other approvals."),
    ApiError("not_yours", 403, "A requester may cancel only their own runs.", "Ask an approver."),
    ApiError("not_you", 422, "The key does not belong to the name in the request.", "Leave the name out."),
    ApiError(
        "not_that_far",
        409,
        "The run has recorded nothing before the step to fork from.",
        "Fork from an earlier step.",
        f"Run {_RUN} has recorded nothing before synthesize yet; fork it from plan.",
    ),
    ApiError(
        "unfit_edit",
        422,
        "The edit does not apply to the step to fork from.",
        "Fork from the step that the message names.",
        "q: another question can be asked from plan only.",
    ),
    ApiError(
        "no_report",
        409,
        "The run has no report.",
        "Read `state` or `reason` of the run.",
        f"Run {_RUN} has no report: hold",
    ),
    ApiError(
        "unknown_delivery",
        404,
        "There is no delivery with this id.",
        "Take the id from `GET /v1/deliveries`.",
        f"There is no delivery {_DELIVERY}.",
    ),
    ApiError("not_tried", 409, "The delivery was not attempted yet.", "Wait for its first attempt."),
    ApiError("asked_too_often", 409, "The delivery was sent again ten times.", "None."),
    ApiError("not_found", 404, "There is no such page.", "Check the URL."),
    ApiError(
        "method_not_allowed", 405, "The path does not take this method; `Allow` lists those it takes.", "Use one."
    ),
)

ACCESS: Final = (
    ApiError("unauthenticated", 401, "The key is missing, invalid, expired or revoked.", "Send a valid key."),
    ApiError(
        "forbidden",
        403,
        "The key's role or scopes do not allow this.",
        "Use a key with the role that `detail` names.",
        "This takes the role approver (to decide); ann comes as viewer.",
    ),
    ApiError(
        "cross_site", 403, "A browser sent the form from another site.", "Use the form on the page of Dossier itself."
    ),
    ApiError("csrf", 403, "The session's CSRF token is missing.", "Reload the page, or send `X-CSRF-Token`."),
    ApiError("unknown_host", 421, "The `Host` header names no host of this API.", "Add the name to `DOSSIER_HOSTS`."),
    ApiError(
        "too_many",
        429,
        "Too many failed sign-ins, or decisions, came from this address or with this key.",
        "Wait for `Retry-After`.",
        "Too many attempts; try again in 3 s.",
    ),
)

SERVER: Final = (
    ApiError(
        "defect",
        500,
        "A bug in Dossier, or in the code of a tool.",
        "Report it; the log of the service has the place in the code.",
    ),
    ApiError(
        "nats_unavailable",
        503,
        "NATS did not answer in time.",
        "Repeat the request; repeating is safe.",
        "NATS gave no answer within 5 s. It is safe to repeat the request.",
    ),
    ApiError(
        "nats_refused",
        502,
        "NATS refused the write.",
        "Read `detail`; compare the limits of the stream.",
        "message size exceeds maximum allowed (10054)",
    ),
    ApiError(
        "log_full",
        507,
        "NATS has no space left; nothing was written.",
        "Make space as `detail` says, then repeat the request.",
    ),
    ApiError("report_missing", 500, "The report's text is missing in `EVIDENCE`.", "Restore the stream."),
    ApiError("text_missing", 404, "A frozen text is missing or damaged in `EVIDENCE`.", "Restore the stream."),
)

CATALOGUE: Final[Mapping[str, ApiError]] = {error.code: error for error in (*REQUESTS, *ACCESS, *SERVER)}
"""Every error of the API, by its code."""
