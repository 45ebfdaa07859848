"""`python -m services.planner`."""

from contextlib import AsyncExitStack

from services.planner.perform import Planner
from services.planner.prompt import AGENT
from shared.contracts.tasks import PlanTask
from shared.models.choice import configured
from shared.runtime.log import Log
from shared.runtime.settings import Settings
from shared.service.app import run_worker
from shared.service.worker import Perform, performing


async def _compose(settings: Settings, log: Log, stack: AsyncExitStack) -> Perform:
    """Return the planning step with the configured model, which is closed with `stack`."""
    model, room = configured(settings, AGENT)
    stack.push_async_callback(model.aclose)
    return performing(PlanTask, Planner(model, room=room).perform)


def main() -> None:
    """Run the planner until it is stopped."""
    run_worker("plan", Settings(), _compose)


if __name__ == "__main__":
    main()
