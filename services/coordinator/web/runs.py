"""Page of one run: progress, evidence, decision and report, and the forms on it."""

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
from services.coordinator.web.presenters import run_context
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
    """Routes of a run's page. All raise `ProblemError` (`unknown_run`) for a run that does not exist."""

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
        """The run, once it is folded to the sequence `at`, after 2 s at most."""
        run = await self._run(run_id, at)
        return self._page(request, run, Notice("good", _DONE[done]) if done else None)

    async def live(self, run_id: RunId, seen: Seen = 0) -> EventSourceResponse:
        """Server-sent events on changes of the run after the sequence `seen`."""
        await self._run(run_id)
        return events(self._hub, seen, run_id)

    async def passage(
        self,
        request: Request,
        run_id: RunId,
        sha256: Sha256,
        start: Annotated[int | None, Query(ge=0, le=1 << 40)] = None,
        length: Annotated[int, Query(ge=0, le=1 << 20)] = 0,
    ) -> HTMLResponse:
        """A frozen text of this run, with the quote of `length` characters from `start`. Raises `ProblemError`:
        `not_found` if it is no source of the run, `text_missing` if `EVIDENCE` lacks it.
        """
        source = _source(await self._run(run_id), sha256)
        text = await self._evidence.get(sha256)
        if text is None:
            detail = f"The text {sha256} is not in EVIDENCE, or damaged there."
            raise ProblemError("text_missing", detail, run_id=run_id)
        where = f"/runs/{run_id}/evidence/{sha256}" if start is not None else ""
        return self._shell.html(
            request, "passage.html", run_id=run_id, source=source, whole=where, excerpt=excerpt(text, start, length)
        )

    async def decide(self, request: Request, run_id: RunId, who: Caller) -> Response:
        """Decide on the evidence that the form names, and redirect to the run; if refused, answer the page with the
        reason.
        """
        form, run = await forms.form_of(request), await self._run(run_id)
        try:
            decided, done = await self._decide(run, form, who)
        except REFUSALS as error:
            return await self._refused(request, run_id, form, problem_of(error))
        return RedirectResponse(f"/runs/{run_id}?done={done}&at={decided.seq}", 303)

    async def _decide(self, run: Run, form: Form, who: Principal) -> tuple[Run, str]:
        """Carry out the form's decision; return the run with it, and which notice to show, a key of `_DONE`.

        Raises one of `REFUSALS`.
        """
        if form.text("decision") == "extend":
            return await self._commands.extend(run.id, forms.new_extension(form), who), "extend"
        sources = {source.sha256 for finding in run.findings() for source in finding.sources}
        body = forms.new_approval(form, form.text("digest"), sources)
        decided = await self._commands.decide(run.id, body, who)
        is_vote = body.decision == "approve" and decided.current.decision is None
        return decided, "vote" if is_vote else body.decision

    async def _refused(self, request: Request, run_id: str, form: Form, problem: ProblemError) -> HTMLResponse:
        """The run's current page with the reason why a form was refused, its fields, and the problem's status. If the
        evidence was decided or has changed, waits for that to be folded, 2 s at most.
        """
        digest, winner = form.text("digest"), problem.problem.winner
        is_stale = problem.problem.code == "stale_digest"
        if winner or is_stale:
            await self._coordinator.wait_until(run_id, 0, lambda known: not _is_on(known, digest), within_s=WAIT_S)
        text = f"You were not the first: this run is {winner}." if winner else _CHANGED if is_stale else ""
        notice = Notice("warn", text or problem.problem.detail)
        return self._page(request, await self._run(run_id), notice, typed=form, status=problem.status)

    async def cancel(self, request: Request, run_id: RunId, who: Caller) -> Response:
        """Cancel the run and redirect to it; if refused, answer the page with the reason."""
        form = await forms.form_of(request)
        try:
            decided = await self._commands.cancel(run_id, NewCancel(comment=form.text("comment")), who)
        except REFUSALS as error:
            return await self._refused(request, run_id, form, problem_of(error))
        return RedirectResponse(f"/runs/{run_id}?done=cancel&at={decided.seq}", 303)

    async def fork(self, request: Request, run_id: RunId, who: Caller) -> Response:
        """Fork the run and redirect to the fork; if refused, answer the page with the reason."""
        form = await forms.form_of(request)
        try:
            fork = await self._commands.fork(run_id, forms.new_fork(form), who, key=forms.idempotency_key(form))
        except REFUSALS as error:
            return await self._refused(request, run_id, form, problem_of(error))
        known = await self._coordinator.wait_until(fork.run_id, fork.seq, lambda _: True, within_s=WAIT_S)
        return RedirectResponse(f"/runs/{fork.run_id}" if known else "/?show=running", 303)

    async def _run(self, run_id: str, at: int = 0) -> Run:
        """The run once it is folded to the sequence `at`, after 2 s at most. Raises `ProblemError` (`unknown_run`)."""
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
        """The run's page. Keeps the fields of the form `typed`, and its ticks if the evidence is the same."""
        who: Principal = request.state.principal
        now, rules = self._coordinator.now(), self._coordinator.rules
        is_same = typed is not None and _is_on(run, typed.text("digest"))
        kept = frozenset(typed.all("keep")) if typed and is_same else None
        context = run_context(run, now, who, rules, rounds=self._coordinator.defaults.rounds, kept=kept)
        return self._shell.html(request, "run.html", status=status, notice=notice, typed=typed, **context)


def _source(run: Run, sha256: str) -> Source:
    """The run's source with this SHA-256. Raises `ProblemError` (`not_found`)."""
    for finding in run.findings():
        for source in finding.sources:
            if source.sha256 == sha256:
                return source
    raise ProblemError("not_found", f"{sha256} is no source of run {run.id}.", run_id=run.id)


def _is_on(run: Run, digest: str) -> bool:
    """Return True if the run waits for a decision on the evidence with this digest."""
    hold = run.current.hold
    return run.status == "hold" and hold is not None and hold.fact.digest == digest
