"""Publishing of requests: stored before the caller learns the sequence, and once for each idempotency key."""

from collections.abc import Sequence

import msgspec

from shared.contracts import envelope, requests
from shared.contracts.facts import RunAccepted
from shared.contracts.requests import AuthenticatedRequest, Request
from shared.contracts.subjects import ASKED, Slot, is_reserved
from shared.domain.approval import ApprovalRules
from shared.domain.judgement import reject_auto_approval
from shared.errors import DossierError, InvalidMessage, LogFull, Unavailable
from shared.runtime import clock
from shared.runtime.dataref import load_text
from shared.runtime.log import Log


class RequestError(DossierError):
    """A request that was refused or may not be stored. `field` names the field at fault, if one is.

    `code` is `no_auto` or `idempotency_key_reused` (nothing was published), `log_full` (NATS has no room, nothing was
    stored) or `nats_unavailable` (it is not known whether the request is stored). The same request may be repeated
    under the same `run_id` after the last two.
    """

    def __init__(self, code: str, message: str, *, run_id: str | None = None, field: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.run_id = run_id
        self.field = field


def run_id_of(key: str | None) -> str:
    """Run id that follows from this idempotency key; a new UUIDv7 without a key.

    Raises `InvalidMessage` if the key is one of the names that are reserved for requests without an id.
    """
    run_id = requests.run_id_of_key(key) if key else clock.uuid7()
    if is_reserved(run_id):
        raise InvalidMessage("invalid_field", f"{run_id} is reserved.", field="Idempotency-Key")
    return run_id


class RequestPublisher:
    """Publishes requests for new runs on `research.asked`. Every request has its `run_id` already."""

    def __init__(self, log: Log) -> None:
        self._log = log

    async def submit(
        self,
        request: Request,
        *,
        auth: str,
        rules: ApprovalRules,
        once: bool = False,
        traceparent: str | None = None,
    ) -> int:
        """Publish a question and return its sequence, after checking that it may approve itself under `rules`.

        With `once`, as `publish_once`. Raises `RequestError`.
        """
        if why := reject_auto_approval(request.approval, rules):
            raise RequestError(why.code, why.message, field=why.field)
        publish = self.publish_once if once else self.publish
        return await publish(request, auth=auth, traceparent=traceparent)

    async def publish(self, request: Request, *, auth: str, traceparent: str | None = None) -> int:
        """Publish and return the sequence once the request is stored. Raises `RequestError`."""
        headers = {"traceparent": traceparent} if traceparent else {}
        try:
            return await self._log.publish(
                ASKED, msgspec.json.encode(AuthenticatedRequest(request=request, auth=auth)), headers
            )
        except Unavailable as error:
            code = "log_full" if isinstance(error, LogFull) else "nats_unavailable"
            raise RequestError(code, str(error), run_id=request.run_id) from error

    async def publish_once(self, request: Request, *, auth: str, traceparent: str | None = None) -> int:
        """Publish unless its run is accepted already; then return the sequence of the first request.

        Raises `RequestError`, also if the run was accepted for a request with other content.
        """
        assert request.run_id
        accepted = (await self.accepted([request.run_id])).get(request.run_id)
        if accepted is None:
            return await self.publish(request, auth=auth, traceparent=traceparent)
        if accepted.request_sha256 != request.content_sha256:
            text = "This Idempotency-Key was used for another question; take another key."
            raise RequestError("idempotency_key_reused", text, run_id=request.run_id)
        return accepted.request_seq

    async def accepted(self, run_ids: Sequence[str]) -> dict[str, RunAccepted]:
        """Those of these runs that are accepted, by id, read from any replica of the log."""
        slots = {Slot(run_id, "accepted").subject: run_id for run_id in run_ids}
        found: dict[str, RunAccepted] = {}
        for subject, message in (await self._log.last(list(slots))).items():
            stored = await load_text(self._log, message)
            fact = envelope.decode(stored.data, stored.text).fact
            assert isinstance(fact, RunAccepted)
            found[slots[subject]] = fact
        return found
