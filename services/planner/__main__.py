"""`python -m services.planner`."""

from contextlib import AsyncExitStack

from services.planner.perform import Planner
from services.planner.prompt import AGENT
from shared.contracts.tasks import PlanTask
from shared.models.choice import create_agent_model
from shared.runtime.log import Log
from shared.runtime.settings import Settings
from shared.service.app import run_worker
from shared.service.worker import Perform, require_task_type


async def _compose(settings: Settings, log: Log, stack: AsyncExitStack) -> Perform:
    """Return the planning step with the configured model, which is closed with `stack`."""
    model, room = create_agent_model(settings, AGENT)
    stack.push_async_callback(model.aclose)
    return require_task_type(PlanTask, Planner(model, room=room).perform)


def main() -> None:
    """Run the planner until it is stopped."""
    run_worker("plan", Settings(), _compose)


if __name__ == "__main__":
    main()
