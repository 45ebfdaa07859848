"""One nats-server for all that is compared here."""

from collections.abc import Iterator

import pytest

from tests.nats_server import NatsServer, running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A real server with an account for each example, also of those that hypothesis tries to find a shorter one."""
    with running(tmp_path_factory.mktemp("nats"), accounts=1_000) as server:
        yield server
