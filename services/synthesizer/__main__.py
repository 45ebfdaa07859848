"""`python -m services.synthesizer`."""

from contextlib import AsyncExitStack

from services.synthesizer.perform import Synthesizer
from shared.contracts.tasks import SynthesizeTask
from shared.models.choice import choose
from shared.runtime.app import run_worker
from shared.runtime.log import Log
from shared.runtime.settings import Settings
from shared.runtime.worker import Perform, performing


async def _compose(settings: Settings, log: Log, stack: AsyncExitStack) -> Perform:
    model = choose(
        api_key=settings.openai_key,
        base_url=settings.openai_base_url,
        model=settings.writer_model,
        timeout_s=settings.model_timeout_s,
    )
    stack.push_async_callback(model.aclose)
    return performing(SynthesizeTask, Synthesizer(model).perform)


def main() -> None:
    """Write until told to stop."""
    run_worker("synthesize", Settings(), _compose)


if __name__ == "__main__":
    main()
