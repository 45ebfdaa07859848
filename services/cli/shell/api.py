"""The HTTP API, from outside."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final, Literal, TypeVar
from urllib.parse import quote

import httpx2
import msgspec
from msgspec import Struct
from pydantic import ValidationError

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
"""The events have a sign of life in them every 15 s; after this long without one the connection is given up."""
_PAUSES_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0)

Verdict = Literal["approve", "reject", "revise"]


class Problem(Struct, frozen=True):
    """What the API says instead of an answer (RFC 9457)."""

    status: int = 500
    code: str = "unknown"
    detail: str = "The API gave no reason."
    winner: str | None = None


class Refused(Refusal):
    """The API said no, and why."""

    def __init__(self, problem: Problem) -> None:
        won = f" What holds: {problem.winner}." if problem.winner and problem.winner not in problem.detail else ""
        code = MISUSED if problem.status == _UNPROCESSABLE else FAILED
        super().__init__(f"{problem.detail}{won} ({problem.code})", code=code)
        self.problem = problem


class Away(Refusal):
    """The API does not answer."""


class Api:
    """The API at one address."""

    def __init__(self, http: httpx2.AsyncClient, *, key: str | None = None) -> None:
        self._http = http
        self.has_own_key = key is not None and keys.key_id(key) != LOCAL
        """Whether it is shown a key that says who asks and decides, not just the token of a data folder."""

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, key: str | None = None) -> "AsyncGenerator[Api]":
        """The API at `url`, for a while, shown this key. Nothing is sent yet."""
        try:
            remote = httpx2.URL(url).host not in _LOOPBACK
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            timeout = httpx2.Timeout(15, connect=3)
            http = httpx2.AsyncClient(base_url=url, trust_env=remote, timeout=timeout, headers=headers)
        except httpx2.InvalidURL as error:
            raise Refusal(f"{url} is no URL of an API: {error}.", code=MISUSED) from error
        async with http:
            yield cls(http, key=key)

    async def runs(self, *, statuses: Sequence[str], text: str, late: bool = False) -> tuple[RunPage, bytes]:
        """The newest runs, read and as they came."""
        params = {"status": list(statuses), "text": text} | ({"late": "true"} if late else {})
        answer = await self._answer(self._http.build_request("GET", "/v1/runs", params=params))
        return _read(RunPage, answer), answer

    async def run(self, run_id: str) -> tuple[RunView, bytes]:
        """Everything that is known of a run, read and as it came."""
        answer = await self._answer(self._http.build_request("GET", _path(run_id)))
        return _read(RunView, answer), answer

    async def failures(self, wanted: Filters) -> tuple[FailurePage, bytes]:
        """What failed, newest first, read and as it came."""
        answer = await self._answer(self._http.build_request("GET", "/v1/failures", params=wanted))
        return _read(FailurePage, answer), answer

    async def why(self, run_id: str) -> tuple[WhyView, bytes]:
        """What a run waits for, read and as it came."""
        answer = await self._answer(self._http.build_request("GET", _path(run_id, "why")))
        return _read(WhyView, answer), answer

    async def fork(self, run_id: str, body: Mapping[str, object], *, key: str) -> tuple[ForkAccepted, bytes]:
        """Do a run over, once for each key; what was begun, read and as it came."""
        request = self._http.build_request("POST", _path(run_id, "fork"), json=self._own(body), headers={KEY: key})
        answer = await self._answer(request)
        return _read(ForkAccepted, answer), answer

    async def forks(self, body: Mapping[str, object], *, key: str) -> ForkPage:
        """Do over the next of the runs that fit, each once for each key."""
        request = self._http.build_request("POST", "/v1/forks", json=self._own(body), headers={KEY: key})
        return _read(ForkPage, await self._answer(request))

    async def report(self, run_id: str) -> str:
        """The report of a run, as Markdown."""
        return (await self._answer(self._http.build_request("GET", _path(run_id, "report")))).decode()

    async def history(self, run_id: str) -> list[EventView]:
        """The facts of a run so far."""
        answer = await self._answer(self._http.build_request("GET", _path(run_id, "events")))
        return _read(EventPage, answer).events

    async def decide(
        self, verdict: Verdict, run_id: str, *, by: str, digest: str | None, fields: Mapping[str, object]
    ) -> RunView:
        """Decide on the evidence that `digest` names, and return the run. Raises `Refused` if the API refuses.

        `fields` are further fields of the decision. `by` is sent only without a key of its own.
        """
        body = {"decision": verdict, **fields} | self._named("by", by)
        headers = {"If-Match": f'"{digest}"'} if digest else {}
        request = self._http.build_request("POST", _path(run_id, "approvals"), json=body, headers=headers)
        return _read(RunView, await self._answer(request))

    async def cancel(self, run_id: str, *, by: str, comment: str) -> RunView:
        """End a run now, and return it. Raises `Refused` if the API refuses."""
        body = {"comment": comment} | self._named("by", by)
        return _read(RunView, await self._answer(self._http.build_request("POST", _path(run_id, "cancel"), json=body)))

    async def extend(self, run_id: str, deadline: datetime, *, by: str, comment: str) -> RunView:
        """Have a run on hold wait until `deadline`. Raises `Refused` for who was too late."""
        body = {"deadline": deadline.isoformat(), "comment": comment} | self._named("by", by)
        request = self._http.build_request("POST", _path(run_id, "extension"), json=body)
        return _read(RunView, await self._answer(request))

    async def deliveries(self, wanted: Mapping[str, str | Sequence[str] | None]) -> tuple[DeliveryPage, bytes]:
        """What others were told, read and as it came; `wanted` are the filters that the API takes."""
        params = {name: value for name, value in wanted.items() if value}
        answer = await self._answer(self._http.build_request("GET", "/v1/deliveries", params=params))
        return _read(DeliveryPage, answer), answer

    async def resend(self, delivery_id: str, *, by: str) -> DeliveryView:
        """Have a delivery sent again."""
        path = f"/v1/deliveries/{quote(delivery_id, safe='')}/resend"
        request = self._http.build_request("POST", path, json=self._named("by", by))
        return _read(DeliveryView, await self._answer(request))

    async def ask(self, request: Request) -> int:
        """Ask a question as whoever the key speaks for; the request's place in the log."""
        assert request.run_id
        left_out = ("run_id", "requested_by")
        body = {name: value for name, value in msgspec.to_builtins(request).items() if name not in left_out}
        headers = {"Idempotency-Key": request.run_id}
        body |= self._named("requested_by", request.requested_by)
        answer = await self._answer(self._http.build_request("POST", "/v1/runs", json=body, headers=headers))
        return _read(Accepted, answer).sequence

    async def sign_in_link(self, *, by: str) -> str:
        """A link that signs a browser in, once."""
        body = self._named("by", by)
        answer = await self._answer(self._http.build_request("POST", "/v1/sign-in-links", json=body))
        return str(self._http.base_url.join(_read(Link, answer).path))

    def _own(self, body: Mapping[str, object]) -> dict[str, object]:
        """The body, less the name that a key says itself."""
        return {name: value for name, value in body.items() if name != "requested_by" or not self.has_own_key}

    def _named(self, field: str, name: str) -> dict[str, object]:
        """The field that says who it is, where no key does."""
        return {} if self.has_own_key else {field: name}

    async def events(self, run_id: str, *, since: int = 0) -> AsyncGenerator[EventView | None]:
        """The facts of a run as they come, to its completion; `None` each time that the API is not there.

        It goes on where it was when the API comes back. A run that is not known yet is
        waited for if its request is known to be in the log, at `since`.
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
        headers = {"Last-Event-ID": str(after), SEQUENCE: str(since)}
        timeout = httpx2.Timeout(_SILENCE_S, connect=3)
        async with self._http.sse(_path(run_id, "events"), headers=headers, timeout=timeout) as source:
            if source.response.is_error:
                raise Refused(_problem(await source.response.aread()))
            async for sent in source:
                yield EventView.model_validate_json(sent.data)

    async def _answer(self, request: httpx2.Request) -> bytes:
        try:
            response = await self._http.send(request)
        except httpx2.TransportError as error:
            raise self._away() from error
        if response.is_error:
            raise Refused(_problem(response.content))
        return response.content

    def _away(self) -> Away:
        return Away(f"Nothing answers at {self._http.base_url}; `dossier up` starts Dossier.")


def _path(run_id: str, what: str = "") -> str:
    return f"/v1/runs/{quote(run_id, safe='')}{'/' if what else ''}{what}"


_View = TypeVar(
    "_View",
    RunPage,
    RunView,
    EventPage,
    Accepted,
    Link,
    FailurePage,
    WhyView,
    ForkAccepted,
    ForkPage,
    DeliveryPage,
    DeliveryView,
)


def _read(type_: type[_View], answer: bytes) -> _View:
    try:
        return type_.model_validate_json(answer)
    except ValidationError as error:
        raise Refusal(
            f"What answers there does not speak as this release does: {error.error_count()} faults."
        ) from error


def _problem(answer: bytes) -> Problem:
    try:
        return msgspec.json.decode(answer, type=Problem)
    except msgspec.MsgspecError:
        return Problem()
