"""A nats-server for the tests that are of one, and one of its own for each that kills it."""

from collections.abc import Iterator

import pytest

from tests.nats_server import NatsServer, running


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Iterator[str]]:
    """Addresses on one server, each of an account with nothing in it."""
    with running(tmp_path_factory.mktemp("nats"), accounts=100) as server:
        yield (server.url_of(account) for account in range(100))


@pytest.fixture
def url(accounts: Iterator[str]) -> str:
    """The address of an empty JetStream."""
    return next(accounts)


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A server of the test's own, to be killed."""
    with running(tmp_path_factory.mktemp("nats")) as server:
        yield server
