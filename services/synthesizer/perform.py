"""The writing step: ask the model, locate and judge every citation, and publish the supported claims."""

import logging
from dataclasses import replace
from typing import Final

from services.synthesizer import correction, judge
from services.synthesizer.citations import Draft, draft_report, missing_quotes, publish_report, with_corrections
from services.synthesizer.extract import extract_report
from services.synthesizer.partial import readable_text
from services.synthesizer.prompt import DEFAULT_ROOM, ask
from services.synthesizer.schema import WriterReply
from shared.contracts.evidence import Call, Report, usage_of
from shared.contracts.facts import SynthesisWritten
from shared.contracts.tasks import SynthesizeTask, with_remaining_budget
from shared.errors import StepError
from shared.models.context_window import ContextWindow
from shared.models.offline import OFFLINE, OfflineModel
from shared.models.protocol import Answer, Ask, Model, Reply
from shared.runtime.live_text import OpenLiveText, no_live_text

logger = logging.getLogger(__name__)

_NO_JUDGE: Final = OfflineModel()
Calls = tuple[Call, ...]


class Synthesizer:
    """Writes reports with `model` within the context window `room`; `judge` checks them within `judge_room`.

    `aloud` publishes the text while it is being written.
    """

    def __init__(
        self,
        model: Model,
        *,
        room: ContextWindow = DEFAULT_ROOM,
        judge: Model = _NO_JUDGE,
        judge_room: ContextWindow = judge.DEFAULT_ROOM,
        aloud: OpenLiveText = no_live_text,
    ) -> None:
        self._model = model
        self._room = room
        self._judge = judge
        self._judge_room = judge_room
        self._aloud = aloud

    async def perform(self, task: SynthesizeTask) -> SynthesisWritten:
        """Return a report whose every citation stands in the task's findings, under the task's digest.

        Quotes that are not found are asked for once more. If no claim of the model is supported, the report is
        extracted from the evidence; if that yields nothing, it is marked as insufficient. Raises the `StepError` of the
        first call; failures of later calls are logged, and the report is published without them.
        """
        async with self._aloud(readable_text) as say:
            answer = await self._model.answer(replace(ask(task, self._room), hear=say))
        reply, calls = await self._correct(task, answer)
        drafted, judged_by, further = await self._judge_draft(
            draft_report(task, reply), with_remaining_budget(task, calls)
        )
        made = publish_report(task, drafted, writer=answer.model, degraded=answer.degraded, judge=judged_by)
        if made.insufficient and (drafted.sections or drafted.dropped):
            made = _extracted(task, drafted, answer, judged_by)
        calls += further
        return SynthesisWritten(digest=task.digest, report=made, usage=usage_of(calls), calls=calls)

    async def _correct(self, task: SynthesizeTask, answer: Answer[WriterReply]) -> tuple[WriterReply, Calls]:
        """Return the reply with corrected quotes, if any were missing, and all calls so far."""
        missing = missing_quotes(task, answer.value)
        if not missing:
            return answer.value, answer.calls
        again, further = await _tried(
            self._model, correction.ask(with_remaining_budget(task, answer.calls), missing, self._room)
        )
        reply = with_corrections(answer.value, missing, again.value) if again else answer.value
        return reply, answer.calls + further

    async def _judge_draft(self, drafted: Draft, task: SynthesizeTask) -> tuple[Draft, str | None, Calls]:
        """Return the draft with the judge's verdicts, the judging model (`None` if only the rule judged), and its
        calls.
        """
        claims = judge.claims_to_judge(drafted, self._judge_room)
        if not claims:
            return drafted, None, ()
        question = judge.ask(claims, self._judge_room, budget_usd=task.budget_usd)
        answer, calls = await _tried(self._judge, question)
        if answer is None or answer.model == OFFLINE or answer.degraded:
            return drafted, None, calls
        return judge.with_verdicts(drafted, claims, answer.value.verdicts), answer.model, calls


def _extracted(task: SynthesizeTask, drafted: Draft, answer: Answer[WriterReply], judged_by: str | None) -> Report:
    """Return the report by extraction, with the unsupported claims of the draft."""
    why = answer.degraded or (
        f"No claim of {answer.model} is supported by its quotes."
        if drafted.sections
        else f"No quote of {answer.model} was found in the sources."
    )
    whole = draft_report(task, extract_report(task)).plus(drafted)
    return publish_report(task, whole, writer=OFFLINE, degraded=why, judge=judged_by)


async def _tried(model: Model, question: Ask[Reply]) -> tuple[Answer[Reply] | None, Calls]:
    """Return answer and calls. A `StepError` is logged and gives `None` with the calls made: the
    report can do without.
    """
    try:
        answer = await model.answer(question)
    except StepError as error:
        logger.warning(
            "A correction or check of a report failed, and the report is published without it: %s",
            error,
            extra={"event": "report.unrevised"},
        )
        return None, tuple(call for call in error.calls if isinstance(call, Call))
    return answer, answer.calls
