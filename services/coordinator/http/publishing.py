"""Requests as the API puts them into the log: once for each key, and acknowledged before anybody is told."""

from collections.abc import Sequence

import msgspec

from services.coordinator.http.problems import ProblemError, log_full
from shared.contracts import envelope, requests
from shared.contracts.facts import RunAccepted
from shared.contracts.requests import AuthenticatedRequest
from shared.contracts.subjects import ASKED, Slot, is_reserved
from shared.errors import LogFull, Unavailable
from shared.runtime import clock
from shared.runtime.dataref import load_text
from shared.runtime.log import Log


def run_id_of(key: str | None) -> str:
    """The run that a request with this `Idempotency-Key` is; a new one without."""
    run_id = requests.run_id_of_key(key) if key else clock.uuid7()
    if is_reserved(run_id):
        raise ProblemError(422, "invalid_field", f"{run_id} is reserved.", field="Idempotency-Key")
    return run_id


class RequestPublisher:
    """Publishes requests."""

    def __init__(self, log: Log) -> None:
        self._log = log

    async def publish(self, asked: AuthenticatedRequest, run_id: str, traceparent: str | None = None) -> int:
        """The sequence of the request once it is stored."""
        headers = {"traceparent": traceparent} if traceparent else {}
        try:
            return await self._log.publish(ASKED, msgspec.json.encode(asked), headers)
        except LogFull as error:
            text = f"{error} The run did not begin; when there is room, repeat with Idempotency-Key: {run_id}"
            raise log_full(text, run_id=run_id) from error
        except Unavailable as error:
            text = f"{error} Whether the run began is not known; repeat with Idempotency-Key: {run_id}"
            raise ProblemError(503, "nats_unavailable", text, run_id=run_id) from error

    async def publish_once(self, asked: AuthenticatedRequest, run_id: str, traceparent: str | None = None) -> int:
        """The same; of a request that is recorded already, its sequence then. Refused where it asked something else."""
        accepted = (await self.recorded([run_id])).get(run_id)
        if accepted is None:
            return await self.publish(asked, run_id, traceparent)
        if accepted.request_sha256 != asked.request.content_sha256:
            text = "This Idempotency-Key was used for another question; take another key."
            raise ProblemError(422, "idempotency_key_reused", text, run_id=run_id)
        return accepted.request_seq

    async def recorded(self, run_ids: Sequence[str]) -> dict[str, RunAccepted]:
        """Which of these runs there are."""
        slots = {Slot(run_id, "accepted").subject: run_id for run_id in run_ids}
        found: dict[str, RunAccepted] = {}
        for subject, message in (await self._log.last(list(slots))).items():
            stored = await load_text(self._log, message)
            fact = envelope.decode(stored.data, stored.text).fact
            assert isinstance(fact, RunAccepted)
            found[slots[subject]] = fact
        return found
