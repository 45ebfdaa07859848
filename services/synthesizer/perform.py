"""One writing step: ask, check every citation, and publish only what stands."""

from services.synthesizer.citations import report
from services.synthesizer.extract import extract
from services.synthesizer.prompt import DEFAULT_ROOM, ask
from shared.contracts.facts import SynthesisWritten
from shared.contracts.tasks import SynthesizeTask
from shared.errors import Terminal
from shared.models.offline import OFFLINE
from shared.models.protocol import Model
from shared.models.room import Room


class Synthesizer:
    """Writes reports with `model`, which has so much `room`."""

    def __init__(self, model: Model, *, room: Room = DEFAULT_ROOM) -> None:
        self._model = model
        self._room = room

    async def perform(self, task: SynthesizeTask) -> SynthesisWritten:
        """A report whose every citation stands in the task's findings, written under the task's digest.

        Where nothing that the model wrote survives the check, the evidence is extracted instead.
        Raises `Terminal` when that too yields nothing, and whatever `StepError` the model raises.
        """
        answer = await self._model.answer(ask(task, self._room))
        written = report(task, answer.value, writer=answer.model, degraded=answer.degraded)
        if not written.sections:
            why = answer.degraded or f"Nothing that {answer.model} wrote could be found in the sources."
            written = report(task, extract(task), writer=OFFLINE, degraded=why)
        if not written.sections:
            error = Terminal("insufficient_evidence", "The sources hold nothing that a report could quote.")
            error.calls = answer.calls
            raise error
        return SynthesisWritten(digest=task.digest, report=written, usage=answer.usage, calls=answer.calls)
