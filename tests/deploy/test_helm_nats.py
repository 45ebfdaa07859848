"""The one certificate that the pods of NATS share is good for the name of each, and for no other."""

from collections.abc import Iterator
from pathlib import Path
from ssl import SSLCertVerificationError

import pytest

from shared.runtime.identity import Identity
from tests.harness.children import Child
from tests.harness.locked import Node, dossier, run_dossier
from tests.harness.plain_nats import closing
from tests.harness.ports import free_row

DOMAIN = "dossier-nats-headless.research.svc.cluster.local"


class Pod:
    """A server with what `nats init` writes for pods."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder / "locked", free_row(1)
        dossier("nats", "init", str(self.folder), "--host", f"*.{DOMAIN}", "--port", str(self.port))
        self.node: Child = Node(self.folder, "node", self.port)

    async def connect(self, name: str) -> None:
        """Connect, and disconnect, as the planner, who takes this to be the server's name."""
        errors: list[Exception] = []

        async def hear(error: Exception) -> None:
            errors.append(error)

        try:
            async with closing() as client:
                await client.connect(
                    f"tls://127.0.0.1:{self.port}",
                    tls=Identity(ca=self.folder / "tls" / "ca.pem").tls(),
                    tls_hostname=name,
                    nkeys_seed=str(self.folder / "keys" / "planner.nk"),
                    allow_reconnect=False,
                    error_cb=hear,
                )
                await client.flush()
        except Exception:
            raise errors[0] from None


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    pod = Pod(tmp_path_factory.mktemp("pod"))
    pod.node.start()
    pod.node.wait_until_ready()
    yield pod
    pod.node.kill()


async def test_each_pod_is_believed_by_its_own_name(pod: Pod):
    for number in range(3):
        await pod.connect(f"dossier-nats-{number}.{DOMAIN}")


@pytest.mark.parametrize("name", ["elsewhere.example.com", DOMAIN, f"a.b.{DOMAIN}"])
async def test_nobody_else_is(pod: Pod, name: str):
    with pytest.raises(SSLCertVerificationError):
        await pod.connect(name)


def test_nodes_of_a_cluster_each_need_a_name_of_their_own(tmp_path: Path):
    hosts = [word for _ in range(3) for word in ("--host", f"*.{DOMAIN}")]
    refused = run_dossier("nats", "init", str(tmp_path), "--nodes", "3", *hosts)
    assert refused.returncode == 2
    assert "each needs one of its own" in refused.stderr
