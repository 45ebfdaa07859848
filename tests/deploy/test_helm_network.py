"""The chart's network policies: a pod of Dossier is reached by, and reaches, nobody that was not named."""

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis.strategies import ip_addresses

from services.fetcher.web.addresses import is_public
from tests.deploy.charted import MODEL, PEER, SETS, USERS, selects, workloads
from tests.harness import helm
from tests.harness.helm import Manifest

METADATA = "169.254.169.254"


class Network:
    """Who may connect to whom, by all policies together: what one of them allows is allowed."""

    def __init__(self, manifests: list[Manifest]) -> None:
        self.policies = [manifest["spec"] for manifest in manifests if manifest["kind"] == "NetworkPolicy"]

    def shut(self, labels: Mapping[str, str], way: str) -> bool:
        """Whether only what is allowed gets through, in (`Ingress`) or out (`Egress`)."""
        return any(selects(policy["podSelector"], labels) and way in policy["policyTypes"] for policy in self.policies)

    def reaches(self, labels: Mapping[str, str], address: str, port: int) -> bool:
        """Whether a pod with these labels may connect to an address that is no pod's."""
        return any(
            any(_contains(to["ipBlock"], address) for to in rule["to"] if "ipBlock" in to)
            for rule in self._rules(labels, "egress")
            if port in [each["port"] for each in rule["ports"]]
        )

    def ports(self, labels: Mapping[str, str], way: str) -> set[int]:
        """The ports that somebody may come in by, or that it may go out to."""
        return {each["port"] for rule in self._rules(labels, way) for each in rule["ports"]}

    def peers(self, labels: Mapping[str, str], way: str, port: int) -> list[Any]:
        """Who may come in by a port, or whom it may connect to at it."""
        side = "from" if way == "ingress" else "to"
        rules = [rule for rule in self._rules(labels, way) if port in [each["port"] for each in rule["ports"]]]
        return [peer for rule in rules for peer in rule[side]]

    def _rules(self, labels: Mapping[str, str], way: str) -> Iterator[Any]:
        for policy in self.policies:
            if selects(policy["podSelector"], labels):
                yield from policy.get(way, ())


def _contains(block: Mapping[str, Any], address: str) -> bool:
    one = ip_address(address)
    networks = [ip_network(block["cidr"]), *map(ip_network, block.get("except", ()))]
    first, *excepted = [one.version == network.version and one in network for network in networks]
    return first and not any(excepted)


@pytest.fixture(scope="module")
def network(everything: list[Manifest]) -> Network:
    return Network(everything)


def labels(component: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "dossier",
        "app.kubernetes.io/instance": "dossier",
        "app.kubernetes.io/component": component,
    }


NATS_LABELS = {
    "app.kubernetes.io/name": "nats",
    "app.kubernetes.io/instance": "dossier",
    "app.kubernetes.io/component": "nats",
}


def test_each_pod_is_shut_in_and_shut_off(network: Network, everything: list[Manifest]):
    for workload in workloads(everything):
        own = workload["spec"]["template"]["metadata"]["labels"]
        assert own.items() >= workload["spec"]["selector"]["matchLabels"].items()
        assert network.shut(own, "Ingress")
        assert network.shut(own, "Egress")
    assert network.shut(NATS_LABELS, "Ingress")
    assert network.shut(NATS_LABELS, "Egress")
    assert not network.shut(labels("planner") | {"app.kubernetes.io/instance": "another"}, "Ingress")


@example(IPv4Address(METADATA))
@example(IPv4Address("10.0.0.1"))
@example(IPv4Address("172.31.255.255"))
@example(IPv6Address("fd00::1"))
@example(IPv6Address("::ffff:10.0.0.1"))
@example(IPv6Address("64:ff9b::a00:1"))
@example(IPv6Address("2002:a00:1::1"))
@given(ip_addresses())
def test_the_fetcher_reaches_no_address_that_its_own_guard_refuses(
    network: Network, address: IPv4Address | IPv6Address
):
    for port in (80, 443):
        assert is_public(address) or not network.reaches(labels("fetcher"), str(address), port)


def test_no_special_network_is_public(network: Network):
    for text in ("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
                 "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24",
                 "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "::/8", "fc00::/7", "fe80::/10", "ff00::/8",
                 "2001::/32", "2001:db8::/32", "2002::/16", "3fff::/20"):  # fmt: skip
        for address in (ip_network(text)[0], ip_network(text)[-1]):
            assert not network.reaches(labels("fetcher"), str(address), 443), address


@pytest.mark.parametrize("address", ["8.8.8.8", "151.101.1.69", "2606:4700::1111", "2a00:1450:4001::1"])
def test_the_fetcher_reads_pages_and_nothing_else_out_there(network: Network, address: str):
    assert network.reaches(labels("fetcher"), address, 80)
    assert network.reaches(labels("fetcher"), address, 443)
    assert not network.reaches(labels("fetcher"), address, 22)


def test_who_asks_a_model_reaches_that_alone(chart: Path, network: Network):
    for component in ("planner", "synthesizer"):
        assert network.reaches(labels(component), "8.8.8.8", 443)
        assert not network.reaches(labels(component), "8.8.8.8", 80)
        assert not network.reaches(labels(component), METADATA, 443)
    offline = Network(helm.rendered(chart, {}))
    inside = {"model": MODEL, "networkPolicy": {"modelTo": [{"ipBlock": {"cidr": "10.9.0.0/24"}}], "modelPort": 8000}}
    narrow = Network(helm.rendered(chart, inside))
    for component in ("planner", "synthesizer"):
        assert offline.ports(labels(component), "egress") == {53, 4222}
        assert narrow.reaches(labels(component), "10.9.0.7", 8000)
        assert not narrow.reaches(labels(component), "8.8.8.8", 443)


def test_nobody_else_reaches_the_internet(network: Network):
    for component in ("coordinator", "operator"):
        assert network.ports(labels(component), "egress") == {53, 4222, 4318}
        assert not network.reaches(labels(component), "8.8.8.8", 443)
    assert network.ports(labels("notifier"), "egress") == {53, 443, 4222, 4318}


def test_only_the_api_and_metrics_are_reached_and_only_by_those_named(network: Network, chart: Path):
    assert network.ports(labels("coordinator"), "ingress") == {8400, 8401}
    assert network.peers(labels("coordinator"), "ingress", 8400) == PEER
    for component in USERS - {"coordinator"}:
        assert network.ports(labels(component), "ingress") == {8401}
    shut = Network(helm.rendered(chart, {}))
    assert shut.peers(labels("coordinator"), "ingress", 8400) == [{"podSelector": {}}]
    for component in USERS - {"coordinator"}:
        assert shut.ports(labels(component), "ingress") == set()


def test_nats_is_reached_by_dossier_its_own_nodes_keda_and_those_named(network: Network, chart: Path):
    assert network.ports(NATS_LABELS, "ingress") == {4222, 6222, 8222}
    [dossier, *others] = network.peers(NATS_LABELS, "ingress", 4222)
    assert selects(dossier["podSelector"], labels("planner"))
    assert others == PEER
    assert network.peers(NATS_LABELS, "ingress", 6222) == [{"podSelector": {"matchLabels": NATS_LABELS}}]
    monitoring = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "keda"}}}]
    assert network.peers(NATS_LABELS, "ingress", 8222) == monitoring
    assert network.ports(NATS_LABELS, "egress") == {53, 6222}
    assert Network(helm.rendered(chart, {})).ports(NATS_LABELS, "ingress") == {4222, 6222}


def test_a_nats_elsewhere_is_reached_where_it_is(chart: Path):
    elsewhere = Network(helm.rendered(chart, SETS["NATS elsewhere"]))
    for component in USERS:
        assert elsewhere.reaches(labels(component), "10.2.0.9", 4222)
        assert not elsewhere.reaches(labels(component), "10.3.0.9", 4222)


def test_each_port_that_is_let_in_is_one_that_a_pod_has(network: Network, everything: list[Manifest]):
    for workload in workloads(everything):
        [container] = workload["spec"]["template"]["spec"]["containers"]
        has = {port["containerPort"] for port in container.get("ports", ())}
        own = workload["spec"]["template"]["metadata"]["labels"]
        assert has <= network.ports(own, "ingress") <= {8400, 8401}
