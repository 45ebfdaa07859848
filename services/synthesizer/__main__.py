"""`python -m services.synthesizer`."""

from contextlib import AsyncExitStack

from services.synthesizer.perform import Synthesizer
from shared.contracts.tasks import SynthesizeTask
from shared.models.choice import configured
from shared.models.offline import OfflineModel
from shared.runtime.app import run_worker
from shared.runtime.log import Log
from shared.runtime.settings import Settings
from shared.runtime.worker import Perform, performing


async def _compose(settings: Settings, log: Log, stack: AsyncExitStack) -> Perform:
    model = configured(settings, settings.writer_model)
    judge = configured(settings, settings.planner_model) if settings.judge else OfflineModel()
    stack.push_async_callback(model.aclose)
    stack.push_async_callback(judge.aclose)
    return performing(SynthesizeTask, Synthesizer(model, judge=judge).perform)


def main() -> None:
    """Write until told to stop."""
    run_worker("synthesize", Settings(), _compose)


if __name__ == "__main__":
    main()
