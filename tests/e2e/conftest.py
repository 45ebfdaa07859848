from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.harness.client import Client
from tests.harness.deployment import Deployment


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Everything running, with stub workers, for all tests that leave it so."""
    with Deployment(tmp_path_factory.mktemp("dossier")) as deployment:
        deployment.start()
        yield deployment


@pytest.fixture
def client(deployment: Deployment) -> Iterator[Client]:
    """Somebody outside of the shared Dossier."""
    yield deployment.client()
    print(deployment.said()[-8_000:])


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Callable[..., Deployment]]:
    """Makes a Dossier for one test alone, with what it is given; not started."""
    with ExitStack() as stack:

        def make(**how: Any) -> Deployment:
            deployment = stack.enter_context(Deployment(tmp_path, **how))
            stack.callback(lambda: print(deployment.said()[-16_000:]))
            return deployment

        yield make
