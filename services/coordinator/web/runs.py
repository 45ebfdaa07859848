"""The page of one run: how far it is, what was found, the decision on it, the report; and what its forms do."""

from typing import Annotated, Final, Protocol

from fastapi import Path, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse, StreamingResponse

from services.coordinator.access.middleware import Caller
from services.coordinator.engine.loop import Coordinator
from services.coordinator.http.params import WAIT_S, RunId
from services.coordinator.http.problems import REFUSALS, ProblemError, problem_of, unknown_run
from services.coordinator.http.routes import Routes
from services.coordinator.web import forms
from services.coordinator.web.forms import Form
from services.coordinator.web.hub import Hub
from services.coordinator.web.inbox import Asks, Seen, events
from services.coordinator.web.passages import excerpt
from services.coordinator.web.presenters import shown
from services.coordinator.web.shell import Notice, Shell
from shared.api.schemas import NewCancel, NewExtension, RunView
from shared.api.views import ForkAccepted, NewFork
from shared.contracts.evidence import Source
from shared.domain.roles import Principal
from shared.domain.run import Run
from shared.runtime.log import Evidence

_DONE: Final = {
    "approve": "Approved.",
    "vote": "Your approval counts; others have to approve as well.",
    "reject": "Rejected.",
    "revise": "Sent back: the next round begins.",
    "extend": "There is more time now.",
    "cancel": "Cancelled.",
}
_CHANGED: Final = "The evidence changed while you were looking, so nothing was decided. This is what there is now."

Sha256 = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]
Done = Annotated[str, Query(pattern=f"^({'|'.join(_DONE)})?$")]


class Acts(Asks, Protocol):
    """What takes words on runs: the API's own functions."""

    async def cancel(self, run_id: str, who: Principal, response: Response, body: NewCancel | None = None) -> RunView:
        """Cancel."""
        ...

    async def extend(self, run_id: str, body: NewExtension, who: Principal, response: Response) -> RunView:
        """Give more time."""
        ...


class Forks(Protocol):
    """What forks runs: the API's own function."""

    async def fork(
        self,
        run_id: str,
        who: Principal,
        response: Response,
        body: NewFork | None = None,
        idempotency_key: str | None = None,
    ) -> ForkAccepted:
        """Fork."""
        ...


class RunPages:
    """The routes."""

    def __init__(
        self,
        coordinator: Coordinator,
        evidence: Evidence,
        shell: Shell,
        hub: Hub,
        api: Acts,
        forking: Forks,
    ) -> None:
        self._coordinator = coordinator
        self._evidence = evidence
        self._shell = shell
        self._hub = hub
        self._api = api
        self._forking = forking

    def add_to(self, routes: Routes) -> None:
        """Register the routes."""
        routes.add("GET", "/runs/{run_id}", self.page, "read")
        routes.add("GET", "/runs/{run_id}/live", self.live, "read")
        routes.add("GET", "/runs/{run_id}/evidence/{sha256}", self.passage, "read")
        routes.add("POST", "/runs/{run_id}/decide", self.decide, "decide")
        routes.add("POST", "/runs/{run_id}/cancel", self.cancel, "cancel")
        routes.add("POST", "/runs/{run_id}/fork", self.fork, "operate")

    async def page(self, request: Request, run_id: RunId, at: Seen = 0, done: Done = "") -> HTMLResponse:
        """The run. `at`: not without what the log has up to there."""
        run = await self._known(run_id, at)
        return self._page(request, run, Notice("good", _DONE[done]) if done else None)

    async def live(self, run_id: RunId, seen: Seen = 0) -> StreamingResponse:
        """Tells that the run has changed since `seen`."""
        await self._known(run_id)
        return events(self._hub, seen, run_id)

    async def passage(
        self,
        request: Request,
        run_id: RunId,
        sha256: Sha256,
        start: Annotated[int | None, Query(ge=0, le=1 << 40)] = None,
        length: Annotated[int, Query(ge=0, le=1 << 20)] = 0,
    ) -> HTMLResponse:
        """A frozen text of this run, with a quote in it."""
        source = _source(await self._known(run_id), sha256)
        text = await self._evidence.get(sha256)
        if text is None:
            detail = f"The text {sha256} is not in EVIDENCE, or damaged there."
            raise ProblemError("text_missing", detail, run_id=run_id)
        where = f"/runs/{run_id}/evidence/{sha256}" if start is not None else ""
        return self._shell.html(
            request, "passage.html", run_id=run_id, source=source, whole=where, excerpt=excerpt(text, start, length)
        )

    async def decide(self, request: Request, run_id: RunId, who: Caller) -> Response:
        """Decide on the evidence that the form names."""
        form, run = await forms.form_of(request), await self._known(run_id)
        try:
            ruled, done = await self._decided(run, form, who)
        except REFUSALS as error:
            return await self._undecided(request, run_id, form, problem_of(error))
        return RedirectResponse(f"/runs/{run_id}?done={done}&at={ruled.sequence}", 303)

    async def _decided(self, run: Run, form: Form, who: Principal) -> tuple[RunView, str]:
        """Do what the form says; how the run stands then, and what was done."""
        if form.text("decision") == "extend":
            return await self._api.extend(run.id, forms.new_extension(form), who, Response()), "extend"
        sources = {source.sha256 for finding in run.findings() for source in finding.sources}
        body = forms.new_approval(form, form.text("digest"), sources)
        ruled = await self._api.approve(run.id, body, who, Response())
        is_vote = body.decision == "approve" and ruled.decision is None
        return ruled, "vote" if is_vote else body.decision

    async def _undecided(self, request: Request, run_id: str, form: Form, problem: ProblemError) -> HTMLResponse:
        """The run as it is by now, why nothing was decided, and what was typed."""
        digest, winner = form.text("digest"), problem.problem.winner
        is_stale = problem.problem.code == "stale_digest"
        if winner or is_stale:
            await self._coordinator.wait_until(run_id, 0, lambda known: not _is_on(known, digest), within_s=WAIT_S)
        text = f"You were not the first: this run is {winner}." if winner else _CHANGED if is_stale else ""
        notice = Notice("warn", text or problem.problem.detail)
        return self._page(request, await self._known(run_id), notice, typed=form, status=problem.status)

    async def cancel(self, request: Request, run_id: RunId, who: Caller) -> Response:
        """End the run now."""
        form, noted = await forms.form_of(request), Response()
        try:
            ruled = await self._api.cancel(run_id, who, noted, NewCancel(comment=form.text("comment")))
        except REFUSALS as error:
            return await self._undecided(request, run_id, form, problem_of(error))
        return RedirectResponse(f"/runs/{run_id}?done=cancel&at={ruled.sequence}", 303)

    async def fork(self, request: Request, run_id: RunId, who: Caller) -> Response:
        """Begin the run again in another one, and go there."""
        form, noted = await forms.form_of(request), Response()
        try:
            forked = await self._forking.fork(run_id, who, noted, forms.new_fork(form), forms.key_of(form))
        except REFUSALS as error:
            return await self._undecided(request, run_id, form, problem_of(error))
        known = await self._coordinator.wait_until(forked.run_id, forked.sequence, lambda _: True, within_s=WAIT_S)
        return RedirectResponse(f"/runs/{forked.run_id}" if known else "/?show=running", 303)

    async def _known(self, run_id: str, at: int = 0) -> Run:
        run = await self._coordinator.wait_until(run_id, at, lambda _: True, within_s=WAIT_S if at else 0)
        if run is None:
            raise unknown_run(run_id)
        return run

    def _page(
        self,
        request: Request,
        run: Run,
        notice: Notice | None = None,
        *,
        typed: Form | None = None,
        status: int = 200,
    ) -> HTMLResponse:
        """The run's page. What was `typed` stays; what was ticked too, as long as the evidence is the same."""
        who: Principal = request.state.principal
        now, rules = self._coordinator.now(), self._coordinator.rules
        is_same = typed is not None and _is_on(run, typed.text("digest"))
        kept = frozenset(typed.all("keep")) if typed and is_same else None
        context = shown(run, now, who, rules, rounds=self._coordinator.defaults.rounds, kept=kept)
        return self._shell.html(request, "run.html", status=status, notice=notice, typed=typed, **context)


def _source(run: Run, sha256: str) -> Source:
    """The source of this run with that text. Raises the problem of one that it does not have."""
    for finding in run.findings():
        for source in finding.sources:
            if source.sha256 == sha256:
                return source
    raise ProblemError("not_found", f"{sha256} is no source of run {run.id}.", run_id=run.id)


def _is_on(run: Run, digest: str) -> bool:
    """Whether the run still waits for a decision on this evidence."""
    hold = run.current.hold
    return run.status == "hold" and hold is not None and hold.fact.digest == digest
