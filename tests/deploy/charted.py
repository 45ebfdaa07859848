"""Releases of the Helm chart: with which values it is tried, and what is in them."""

from collections.abc import Mapping
from typing import Any

import yaml

from tests.harness.helm import CHART, Manifest

CHART_YAML = yaml.safe_load((CHART / "Chart.yaml").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
PEER = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "elsewhere"}}}]
MODEL = {"baseUrl": "https://models.example.com/v1", "secret": {"name": "model", "key": "OPENAI_API_KEY"}}
SETS: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "everything": {
        "settings": {"DOSSIER_MODEL_LIMIT": 8, "DOSSIER_FOUR_EYES": True},
        "model": MODEL,
        "telemetry": {"endpoint": "http://collector:4318", "secret": {"name": "otlp", "key": "headers"}},
        "fetcher": {"secrets": {"DOSSIER_TAVILY_KEY": {"name": "tavily", "key": "key"}}},
        "notifier": {"enabled": True, "secrets": {"OPS_SECRET": {"name": "dossier-webhooks", "key": "ops"}}},
        "toolbox": {"enabled": True},
        "keda": {"enabled": True},
        "serviceMonitor": {"enabled": True},
        "api": {"hosts": ["desk"], "trustedProxies": ["10.1.0.0/16"]},
        "ingress": {"enabled": True, "className": "nginx", "host": "dossier.example.com", "tlsSecret": "tls"},
        "networkPolicy": {"apiFrom": PEER, "metricsFrom": PEER, "telemetryTo": PEER, "natsFrom": PEER},
    },
    "NATS elsewhere": {
        "nats": {"enabled": False},
        "connection": {"urls": ["tls://a.example.com:4222", "tls://b.example.com:4222"]},
        "keda": {"enabled": True, "endpoint": "a.example.com:8222"},
        "networkPolicy": {"natsTo": [{"ipBlock": {"cidr": "10.2.0.0/24"}}]},
    },
    "one node that asks nobody": {
        "connection": {"replicas": 1, "secretPrefix": ""},
        "nats": {"config": {"cluster": {"enabled": False}, "nats": {"tls": {"enabled": False}}}},
    },
    "nothing kept, nothing closed": {
        "coordinator": {"persistence": {"enabled": False}},
        "networkPolicy": {"enabled": False},
        "podDisruptionBudget": {"enabled": False},
    },
}
USERS = {"coordinator", "planner", "fetcher", "synthesizer", "notifier", "operator"}


def workloads(manifests: list[Manifest]) -> list[Manifest]:
    """What has pods."""
    return [manifest for manifest in manifests if manifest["kind"] in ("Deployment", "StatefulSet")]


def pods(manifests: list[Manifest]) -> list[Any]:
    """What each workload's pods are to be."""
    return [workload["spec"]["template"]["spec"] for workload in workloads(manifests)]


def services(manifests: list[Manifest]) -> list[Any]:
    """The pods that are a service of Dossier: all but the toolbox."""
    return [pod for pod in pods(manifests) if pod["containers"][0]["name"] != "toolbox"]


def environment(container: Mapping[str, Any]) -> dict[str, str]:
    """Each variable and its value; empty where that is in a Secret."""
    return {variable["name"]: variable.get("value", "") for variable in container["env"]}


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector takes what has these labels."""
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    return wanted and all(labels.get(each["key"]) in each["values"] for each in selector.get("matchExpressions", ()))
