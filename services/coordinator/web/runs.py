"""The page of one run: how far it is, what was found, the decision on it, the report; and what its forms do."""

from typing import Annotated, Final

from fastapi import Path, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.sse import EventSourceResponse

from services.coordinator.access.middleware import Caller
from services.coordinator.engine.loop import Coordinator
from services.coordinator.http.commands import Commands
from services.coordinator.http.params import WAIT_S, RunId
from services.coordinator.http.problems import REFUSALS, ProblemError, problem_of, unknown_run
from services.coordinator.http.routes import Routes
from services.coordinator.web import forms
from services.coordinator.web.forms import Form
from services.coordinator.web.hub import Hub
from services.coordinator.web.inbox import Seen, events
from services.coordinator.web.passages import excerpt
from services.coordinator.web.presenters import shown
from services.coordinator.web.shell import Notice, Shell
from shared.api.schemas import NewCancel
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


class RunPages:
    """The routes."""

    def __init__(
        self,
        coordinator: Coordinator,
        evidence: Evidence,
        shell: Shell,
        hub: Hub,
        commands: Commands,
    ) -> None:
        self._coordinator = coordinator
        self._evidence = evidence
        self._shell = shell
        self._hub = hub
        self._commands = commands

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

    async def live(self, run_id: RunId, seen: Seen = 0) -> EventSourceResponse:
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
            ruled, done = await self._decide(run, form, who)
        except REFUSALS as error:
            return await self._undecided(request, run_id, form, problem_of(error))
        return RedirectResponse(f"/runs/{run_id}?done={done}&at={ruled.seq}", 303)

    async def _decide(self, run: Run, form: Form, who: Principal) -> tuple[Run, str]:
        """Carry out the form's decision; return the run with it, and which notice to show, a key of `_DONE`.

        Raises one of `REFUSALS`.
        """
        if form.text("decision") == "extend":
            return await self._commands.extend(run.id, forms.new_extension(form), who), "extend"
        sources = {source.sha256 for finding in run.findings() for source in finding.sources}
        body = forms.new_approval(form, form.text("digest"), sources)
        ruled = await self._commands.decide(run.id, body, who)
        is_vote = body.decision == "approve" and ruled.current.decision is None
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
        form = await forms.form_of(request)
        try:
            ruled = await self._commands.cancel(run_id, NewCancel(comment=form.text("comment")), who)
        except REFUSALS as error:
            return await self._undecided(request, run_id, form, problem_of(error))
        return RedirectResponse(f"/runs/{run_id}?done=cancel&at={ruled.seq}", 303)

    async def fork(self, request: Request, run_id: RunId, who: Caller) -> Response:
        """Begin the run again in another one, and go there."""
        form = await forms.form_of(request)
        try:
            fork = await self._commands.fork(run_id, forms.new_fork(form), who, key=forms.key_of(form))
        except REFUSALS as error:
            return await self._undecided(request, run_id, form, problem_of(error))
        known = await self._coordinator.wait_until(fork.run_id, fork.seq, lambda _: True, within_s=WAIT_S)
        return RedirectResponse(f"/runs/{fork.run_id}" if known else "/?show=running", 303)

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
