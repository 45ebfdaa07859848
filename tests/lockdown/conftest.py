from collections.abc import Iterator

import pytest

from shared.contracts.topology import Limits
from tests.harness.locked import Locked, dossier
from tests.lockdown.people import People

WEBHOOKS = """\
[endpoints.ops]
url = "https://example.com/"
secret_env = "OPS_SECRET"
"""


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    """Three servers from the files of `dossier nats init`."""
    with Locked(tmp_path_factory.mktemp("lockdown"), 3) as locked:
        yield locked


@pytest.fixture(scope="package")
def people(cluster: Locked) -> Iterator[People]:
    """Everybody with a key, to streams and consumers that the coordinator and the operator have set up."""
    people = People(cluster)
    try:
        people.set_up(Limits(replicas=3, models=100))
        file = cluster.folder / "webhooks.toml"
        file.write_text(WEBHOOKS)
        dossier("nats", "consumers", "--webhooks", str(file), settings=cluster.settings("operator"))
        yield people
    finally:
        people.close()
