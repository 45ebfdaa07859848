"""Authentication of clients, and the separation of users."""

import asyncio
import re
import shutil
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nats
import pytest

from services.cli.lockdown import certificates, config
from services.cli.lockdown.config import Node as Named
from services.cli.lockdown.config import Place
from services.cli.lockdown.permissions import USERS
from shared.contracts.topology import Limits
from shared.nats.connection import Connection
from shared.runtime import clock
from shared.runtime.identity import Identity
from tests.harness.http import ask
from tests.harness.locked import Locked, Node
from tests.harness.plain_nats import closing
from tests.harness.ports import free_row
from tests.harness.server import NatsServer
from tests.harness.waiting import wait_until
from tests.lockdown.people import People


def refused(locked: Locked, **differently: Any) -> str:
    """Why plain nats-py is not let in."""

    async def connect() -> str:
        reasons: list[str] = []

        async def hear(error: Exception) -> None:
            reasons.append(f"{error} {error.__cause__ or ''}")

        options = locked.options("planner") | {"allow_reconnect": False, "error_cb": hear} | differently
        try:
            async with closing() as client:
                await client.connect(**{name: value for name, value in options.items() if value is not None})
        except (nats.errors.Error, OSError) as error:
            return f"{error} {reasons}"
        return ""

    return asyncio.run(connect())


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    """A folder like the one that counts, with keys and an authority of its own."""
    return Locked(tmp_path, 1).folder


def test_somebody_with_a_key_is_let_in(cluster: Locked):
    assert refused(cluster) == ""


def test_nobody_is_let_in_without_a_key(cluster: Locked):
    assert "authorization violation" in refused(cluster, nkeys_seed=None).lower()
    assert "authorization violation" in refused(cluster, nkeys_seed=None, user="operator", password="").lower()


def test_nobody_is_let_in_with_the_key_of_another_nats(cluster: Locked, stranger: Path):
    assert "authorization violation" in refused(cluster, nkeys_seed=str(stranger / "keys" / "operator.nk")).lower()


def test_a_server_of_another_authority_is_not_spoken_to(cluster: Locked, stranger: Path):
    other = ssl.create_default_context(cafile=stranger / "tls" / "ca.pem")
    assert "certificate verify failed" in refused(cluster, tls=other).lower()


async def test_dossier_says_nothing_in_the_clear_where_it_knows_the_authority(cluster: Locked, tmp_path: Path):
    server = NatsServer(tmp_path)
    server.start()
    reasons: list[str] = []

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await Connection.open([server.url], name="test", identity=cluster.identity("planner"), hear=reasons.append)
    server.kill()
    assert "does not speak TLS" in reasons[0]


async def test_dossier_says_nothing_in_the_clear_to_a_server_named_by_tls(tmp_path: Path):
    server = NatsServer(tmp_path)
    server.start()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await Connection.open([server.url.replace("nats:", "tls:")], name="test", identity=Identity())
    server.kill()


@contextmanager
def intruding(cluster: Locked, folder: Path, authority: certificates.Pair) -> Iterator[Node]:
    """A fourth server with all that the others have, and a certificate from this authority."""
    base = free_row(1)
    intruder = Named("n4", "127.0.0.1", base, "127.0.0.1")
    ports = [int(url.rpartition(":")[2]) for url in cluster.urls]
    peers = [intruder, *(Named(f"n{n}", "127.0.0.1", port, "127.0.0.1") for n, port in enumerate(ports, 1))]
    shutil.copytree(cluster.folder / "nats", folder / "nats")
    (folder / "tls").mkdir()
    shutil.copy(cluster.ca, folder / "tls" / "ca.pem")
    pair = certificates.server(authority, "n4", ["127.0.0.1"], clock.now())
    (folder / "tls" / "n4.pem").write_bytes(pair.certificate)
    (folder / "tls" / "n4.key").write_bytes(pair.key)
    text = config.node(intruder, peers, Place(folder, "1GB"))
    without_streams = re.sub(r"\njetstream \{.*?\n\}", "", text, flags=re.DOTALL)
    (folder / "nats" / "n4.conf").write_text(without_streams)
    node = Node(folder, "n4", base)
    node.start()
    try:
        yield node
    finally:
        node.kill()


def peers_of(cluster: Locked) -> set[str]:
    """The names of all servers that some node has let in."""
    routes = [route for node in cluster.nodes for route in ask(node.monitor, "GET", "/routez").body["routes"]]
    return {route["remote_name"] for route in routes}


def test_no_server_joins_whose_certificate_is_from_elsewhere(cluster: Locked, tmp_path: Path):
    """With everything but the authority's key: accounts, users, the name of the cluster, the addresses of its peers."""
    with intruding(cluster, tmp_path / "stranger", certificates.authority(clock.now())):
        wait_until(lambda: all("TLS route handshake error" in node.said() for node in cluster.nodes))
        assert peers_of(cluster) == {"n1", "n2", "n3"}
    authority = certificates.Pair(cluster.ca.read_bytes(), (cluster.folder / "tls" / "ca.key").read_bytes())
    with intruding(cluster, tmp_path / "friend", authority):
        assert wait_until(lambda: "n4" in peers_of(cluster)), "the control: the authority's key makes it one of them"


def test_monitoring_is_for_the_machine_of_the_server_alone(cluster: Locked):
    for node in cluster.nodes:
        text = (cluster.folder / "nats" / f"{node.name}.conf").read_text()
        assert f'http: "127.0.0.1:{node.monitor}"' in text


def test_accounts_alone_keep_users_apart_without_any_permission(tmp_path: Path):
    """Allow-lists and accounts restrict users independently: if one is wrong, the other still holds."""
    locked = Locked(tmp_path, 1)
    accounts = locked.folder / "nats" / config.ACCOUNTS
    bare, count = re.subn(r"\n      permissions: \{.*?\n      \}", "", accounts.read_text(), flags=re.DOTALL)
    assert count == len(USERS)
    accounts.write_text(bare)
    with locked:
        people = People(locked)
        try:
            people.set_up(Limits())
            for who in ("planner", "notifier", "requester", "subscriber"):
                said = people.say(who, "research.run.a.decision.1", b"forged", reply="nowhere")
                assert not said.denied, "the permissions are gone"
                people.say(who, "$JS.API.STREAM.PURGE.RESEARCH", reply="nowhere")
                people.say(who, "$JS.API.DIRECT.GET.ACCESS", {"last_by_subj": "access.>"}, reply="nowhere")
            assert people.say("planner", "research.run.a.plan.1", b"own").stored
            people.say("planner", "research.run.a.plan.2", b"own", reply="research.run.a.decision.1")
            assert people.say("coordinator", "research.run.a.hold.1").stored
            assert people.stored("research.run.a.decision.1") is None
            assert people.state("RESEARCH")["messages"] == 3
        finally:
            people.close()
