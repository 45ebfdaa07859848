"""One writing step: ask, check every citation, and publish only what stands."""

import logging
from typing import Final

from services.synthesizer import correction, judge
from services.synthesizer.citations import Draft, corrected, draft, lost, publish
from services.synthesizer.extract import extract
from services.synthesizer.prompt import BUDGET, ask
from services.synthesizer.reply import WriterReply
from shared.contracts.evidence import Report, Usage
from shared.contracts.facts import SynthesisWritten
from shared.contracts.tasks import SynthesizeTask
from shared.errors import StepError
from shared.models.offline import OFFLINE, OfflineModel
from shared.models.protocol import Answer, Ask, Model, Reply

logger = logging.getLogger(__name__)

_NO_JUDGE: Final = OfflineModel()


class Synthesizer:
    """Writes reports with `model`, which is shown at most `budget` characters of passages; `judge` doubts them."""

    def __init__(self, model: Model, *, judge: Model = _NO_JUDGE, budget: int = BUDGET) -> None:
        self._model = model
        self._judge = judge
        self._budget = budget

    async def perform(self, task: SynthesizeTask) -> SynthesisWritten:
        """A report whose every citation stands in the task's findings, written under the task's digest.

        Quotes that are found nowhere are asked for once more. Where nothing that the model wrote survives,
        the evidence is extracted instead; where that too yields nothing, the report says that the evidence is
        insufficient. Raises whatever `StepError` the model raises at first; once it has written, what it wrote is
        published without the further calls that fail.
        """
        answer = await self._model.answer(ask(task, budget=self._budget))
        reply, usage = await self._corrected(task, answer)
        drafted, judged_by, spent = await self._judged(draft(task, reply))
        usage = usage.plus(spent)
        made = publish(task, drafted, writer=answer.model, degraded=answer.degraded, judge=judged_by)
        if made.insufficient and (drafted.sections or drafted.dropped):
            made = _extracted(task, drafted, answer, judged_by)
        return SynthesisWritten(digest=task.digest, report=made, usage=usage)

    async def _corrected(self, task: SynthesizeTask, answer: Answer[WriterReply]) -> tuple[WriterReply, Usage]:
        missing = lost(task, answer.value)
        if not missing:
            return answer.value, answer.usage
        again = await _tried(self._model, correction.ask(task, missing, budget=self._budget))
        if again is None:
            return answer.value, answer.usage
        return corrected(answer.value, missing, again.value), answer.usage.plus(again.usage)

    async def _judged(self, drafted: Draft) -> tuple[Draft, str | None, Usage]:
        """The draft with the judge's verdicts, and who judged, where somebody did beside the rule."""
        claims = judge.doubtful(drafted)
        answer = await _tried(self._judge, judge.ask(claims)) if claims else None
        if answer is None:
            return drafted, None, Usage()
        if answer.model == OFFLINE or answer.degraded:
            return drafted, None, answer.usage
        return judge.with_verdicts(drafted, claims, answer.value.verdicts), answer.model, answer.usage


def _extracted(task: SynthesizeTask, drafted: Draft, answer: Answer[WriterReply], judged_by: str | None) -> Report:
    """The report by extraction, beside what was written and not borne out."""
    why = answer.degraded or (
        f"Nothing that {answer.model} wrote is borne out by what it quoted."
        if drafted.sections
        else f"Nothing that {answer.model} wrote could be found in the sources."
    )
    whole = draft(task, extract(task)).plus(drafted)
    return publish(task, whole, writer=OFFLINE, degraded=why, judge=judged_by)


async def _tried(model: Model, question: Ask[Reply]) -> Answer[Reply] | None:
    """The answer, or nothing where there is none: the report that is written already is worth more than it."""
    try:
        return await model.answer(question)
    except StepError as error:
        logger.warning("A further look at a report failed, it goes on without: %s", error)
        return None
