"""`python -m services.synthesizer`."""

from contextlib import AsyncExitStack

from services.synthesizer.judge import AGENT as JUDGE
from services.synthesizer.perform import Synthesizer
from services.synthesizer.prompt import AGENT
from shared.contracts.tasks import SynthesizeTask
from shared.models.choice import create_agent_model
from shared.models.offline import OfflineModel
from shared.runtime.live_text import publish_live_text
from shared.runtime.log import Log
from shared.runtime.settings import Settings
from shared.service.app import run_worker
from shared.service.worker import Perform, require_task_type


async def _compose(settings: Settings, log: Log, stack: AsyncExitStack) -> Perform:
    """Return the writing step with the configured models of writer and judge, which are closed with `stack`.

    Without a judge, claims are judged by rule alone.
    """
    model, room = create_agent_model(settings, AGENT)
    doubting, judge_room = create_agent_model(settings, JUDGE) if settings.judge else (OfflineModel(), room)
    stack.push_async_callback(model.aclose)
    stack.push_async_callback(doubting.aclose)
    writer = Synthesizer(model, room=room, judge=doubting, judge_room=judge_room, aloud=publish_live_text(log))
    return require_task_type(SynthesizeTask, writer.perform)


def main() -> None:
    """Run the synthesizer until it is stopped."""
    run_worker("synthesize", Settings(), _compose)


if __name__ == "__main__":
    main()
