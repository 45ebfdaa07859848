"""`python -m services.fetcher`."""

from contextlib import AsyncExitStack

from services.fetcher.perform import Fetcher
from services.fetcher.tools.docs import Docs
from shared.contracts.tasks import FetchTask
from shared.runtime.app import run_worker
from shared.runtime.log import Log
from shared.runtime.settings import Settings
from shared.runtime.worker import Perform, performing


async def _compose(settings: Settings, log: Log, stack: AsyncExitStack) -> Perform:
    docs = Docs(settings.docs, settings.data / "cache")
    fetcher = Fetcher({docs.name: docs}, log, sources=settings.sources)
    return performing(FetchTask, fetcher.perform)


def main() -> None:
    """Fetch until told to stop."""
    run_worker("fetch", Settings(), _compose)


if __name__ == "__main__":
    main()
