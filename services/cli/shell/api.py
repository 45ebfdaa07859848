"""Client of the HTTP API."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final, Literal, TypeVar
from urllib.parse import quote

import httpx2
import msgspec
from msgspec import Struct
from pydantic import BaseModel, ValidationError

from services.cli.shell.filters import Filters
from services.cli.shell.refusal import FAILED, MISUSED, Refusal
from shared.api.schemas import Accepted, EventPage, EventView, Link, RunPage, RunView
from shared.api.views import DeliveryPage, DeliveryView, FailurePage, ForkAccepted, ForkPage, WhyView
from shared.contracts.requests import Request
from shared.domain import keys
from shared.domain.approval import LOCAL

SEQUENCE: Final = "Dossier-Sequence"
KEY: Final = "Idempotency-Key"
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_UNPROCESSABLE: Final = 422
_SILENCE_S: Final = 40.0
"""Longest silence of an event stream before the connection is given up. The API sends a heartbeat every 15 s."""
_PAUSES_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0)
"""Pauses before each further connection to an event stream; the last one repeats."""

Verdict = Literal["approve", "reject", "revise"]
_View = TypeVar("_View", bound=BaseModel)


class Problem(Struct, frozen=True):
    """Body of an error of the API (RFC 9457). `winner` is the decision that holds, if another one came first."""

    status: int = 500
    code: str = "unknown"
    detail: str = "The API gave no reason."
    winner: str | None = None


class Refused(Refusal):
    """The API answered with an error, which is in `problem`."""

    def __init__(self, problem: Problem) -> None:
        won = f" What holds: {problem.winner}." if problem.winner and problem.winner not in problem.detail else ""
        code = MISUSED if problem.status == _UNPROCESSABLE else FAILED
        super().__init__(f"{problem.detail}{won} ({problem.code})", code=code)
        self.problem = problem


class Away(Refusal):
    """The API does not answer."""


class Api:
    """The API at one address. Every method raises `Refused` for an error, `Away` for no answer.

    Methods that return a pair return the answer parsed and as bytes. `by` and `requested_by` name the caller; they are
    sent only without a key of its own, since the API takes the name from the key.
    """

    def __init__(self, http: httpx2.AsyncClient, *, key: str | None = None) -> None:
        self._http = http
        self.has_own_key = key is not None and keys.key_id(key) != LOCAL
        """True if the key belongs to a person, and is not the token of a data folder."""

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, key: str | None = None) -> "AsyncGenerator[Api]":
        """Client for the API at `url` that sends `key`. Sends no request. Raises `Refusal` if `url` is not a URL."""
        try:
            is_remote = httpx2.URL(url).host not in _LOOPBACK
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            timeout = httpx2.Timeout(15, connect=3)
            http = httpx2.AsyncClient(base_url=url, trust_env=is_remote, timeout=timeout, headers=headers)
        except httpx2.InvalidURL as error:
            raise Refusal(f"{url} is not the URL of an API: {error}.", code=MISUSED) from error
        async with http:
            yield cls(http, key=key)

    async def runs(self, *, statuses: Sequence[str], text: str, late: bool = False) -> tuple[RunPage, bytes]:
        """The newest runs that match all filters; an empty filter matches any run."""
        params = {"status": list(statuses), "text": text} | ({"late": "true"} if late else {})
        return await self._get(RunPage, "/v1/runs", params)

    async def run(self, run_id: str) -> tuple[RunView, bytes]:
        """One run."""
        return await self._get(RunView, _path(run_id))

    async def failures(self, wanted: Filters) -> tuple[FailurePage, bytes]:
        """The newest failures that match."""
        return await self._get(FailurePage, "/v1/failures", wanted)

    async def why(self, run_id: str) -> tuple[WhyView, bytes]:
        """The reasons why a run waits."""
        return await self._get(WhyView, _path(run_id, "/why"))

    async def history(self, run_id: str) -> list[EventView]:
        """The facts of a run so far, in order."""
        return (await self._get(EventPage, _path(run_id, "/events")))[0].events

    async def deliveries(self, wanted: Filters) -> tuple[DeliveryPage, bytes]:
        """The newest deliveries that match."""
        return await self._get(DeliveryPage, "/v1/deliveries", wanted)

    async def report(self, run_id: str) -> str:
        """The report of a run, as Markdown."""
        return (await self._send("GET", _path(run_id, "/report"))).decode()

    async def fork(self, run_id: str, body: Mapping[str, object], *, key: str) -> tuple[ForkAccepted, bytes]:
        """Fork a run, once for each idempotency key."""
        return await self._post(ForkAccepted, _path(run_id, "/fork"), body, {KEY: key})

    async def forks(self, body: Mapping[str, object], *, key: str) -> ForkPage:
        """Fork the next page of the runs that match, each once for each idempotency key."""
        return (await self._post(ForkPage, "/v1/forks", body, {KEY: key}))[0]

    async def decide(
        self, verdict: Verdict, run_id: str, *, by: str, digest: str | None, fields: Mapping[str, object]
    ) -> RunView:
        """Decide on the evidence of `digest`, and return the run. `fields` are further fields of the decision."""
        body = {"decision": verdict, "by": by, **fields}
        headers = {"If-Match": f'"{digest}"'} if digest else {}
        return (await self._post(RunView, _path(run_id, "/approvals"), body, headers))[0]

    async def cancel(self, run_id: str, *, by: str, comment: str) -> RunView:
        """End a run now, and return it."""
        return (await self._post(RunView, _path(run_id, "/cancel"), {"comment": comment, "by": by}))[0]

    async def extend(self, run_id: str, deadline: datetime, *, by: str, comment: str) -> RunView:
        """Move the deadline of a run on hold, and return the run."""
        body = {"deadline": deadline.isoformat(), "comment": comment, "by": by}
        return (await self._post(RunView, _path(run_id, "/extension"), body))[0]

    async def resend(self, delivery_id: str, *, by: str) -> DeliveryView:
        """Send a delivery again, and return it."""
        path = f"/v1/deliveries/{quote(delivery_id, safe='')}/resend"
        return (await self._post(DeliveryView, path, {"by": by}))[0]

    async def ask(self, request: Request) -> int:
        """Ask a question, once for each run id. Return the sequence of the request in the log."""
        assert request.run_id
        body = {name: value for name, value in msgspec.to_builtins(request).items() if name != "run_id"}
        return (await self._post(Accepted, "/v1/runs", body, {KEY: request.run_id}))[0].sequence

    async def sign_in_link(self, *, by: str) -> str:
        """A URL that signs in one browser, once."""
        link, _ = await self._post(Link, "/v1/sign-in-links", {"by": by})
        return str(self._http.base_url.join(link.path))

    async def events(self, run_id: str, *, since: int = 0) -> AsyncGenerator[EventView | None]:
        """Stream the facts of a run up to its completion. Yield `None` each time that the API does not answer.

        After an interruption it continues after the last fact. A run that the API does not know yet is waited for if
        `since` is the sequence of its request in the log. Raises `Refused` for any other error below 500.
        """
        after = failures = 0
        while True:
            try:
                async for event in self._events(run_id, after, since):
                    after, failures = event.sequence, 0
                    yield event
                    if event.slot == "completed":
                        return
            except Refused as refused:
                if refused.problem.status < 500 and not (since and refused.problem.code == "unknown_run"):
                    raise
            except (httpx2.TransportError, ValidationError):
                yield None
            await asyncio.sleep(_PAUSES_S[min(failures, len(_PAUSES_S) - 1)])
            failures += 1

    async def _events(self, run_id: str, after: int, since: int) -> AsyncGenerator[EventView]:
        """One connection to the event stream, after the sequence `after`. Raises the errors of httpx2 and pydantic."""
        headers = {"Last-Event-ID": str(after), SEQUENCE: str(since)}
        timeout = httpx2.Timeout(_SILENCE_S, connect=3)
        async with self._http.sse(_path(run_id, "/events"), headers=headers, timeout=timeout) as source:
            if source.response.is_error:
                raise Refused(_problem(await source.response.aread()))
            async for sent in source:
                yield EventView.model_validate_json(sent.data)

    async def _get(self, view: type[_View], path: str, params: Mapping[str, Any] | None = None) -> tuple[_View, bytes]:
        """Send a GET request. Return the answer, parsed and as bytes."""
        answer = await self._send("GET", path, params=params)
        return _parse(view, answer), answer

    async def _post(
        self, view: type[_View], path: str, body: Mapping[str, object], headers: Mapping[str, str] | None = None
    ) -> tuple[_View, bytes]:
        """Send a POST request, with the caller's name only if no key has it. Return the answer, parsed and as bytes."""
        left_out = ("by", "requested_by") if self.has_own_key else ()
        named = {name: value for name, value in body.items() if name not in left_out}
        answer = await self._send("POST", path, json=named, headers=headers)
        return _parse(view, answer), answer

    async def _send(self, method: str, path: str, **content: Any) -> bytes:
        """Send a request and return the body of the answer. Raises `Away` or `Refused`."""
        try:
            response = await self._http.request(method, path, **content)
        except httpx2.TransportError as error:
            raise Away(f"Nothing answers at {self._http.base_url}; `dossier up` starts Dossier.") from error
        if response.is_error:
            raise Refused(_problem(response.content))
        return response.content


def _path(run_id: str, rest: str = "") -> str:
    """Path of a run, with its id escaped, and `rest` appended."""
    return f"/v1/runs/{quote(run_id, safe='')}{rest}"


def _parse(view: type[_View], answer: bytes) -> _View:
    """The answer as this schema. Raises `Refusal` if it does not fit."""
    try:
        return view.model_validate_json(answer)
    except ValidationError as error:
        text = (
            f"The API's answer does not fit this release ({error.error_count()} errors); update the older of the two."
        )
        raise Refusal(text) from error


def _problem(answer: bytes) -> Problem:
    """The error in the answer; one without a reason if the answer is not a problem."""
    try:
        return msgspec.json.decode(answer, type=Problem)
    except msgspec.MsgspecError:
        return Problem()
