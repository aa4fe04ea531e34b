"""The Helm chart, rendered by Helm itself and checked against the schemas of Kubernetes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from router.rpc.health import PROCESS
from router.settings import Settings
from tests.deploy.programs import run

pytestmark = pytest.mark.deploy
CHART = Path(__file__).parents[2] / "deploy/helm/mitsumori"
PROTECTED = {
    "tls": {"secretName": "mitsumori-tls", "serverName": "quotes-mitsumori.llm.svc"},
    "keyStore": {"secretName": "mitsumori-keys"},
}
IN_A_MESH = {"insecure": True, "secretName": "mitsumori-ledger"}
ON_POSTGRESQL = {**PROTECTED, "secretName": "mitsumori-ledger"}
ON_SQLITE = {
    "insecure": True,
    "replicas": 1,
    "ledgerVolume": {"enabled": True, "storageClassName": "fast"},
}
EVERYTHING = {
    **ON_POSTGRESQL,
    "replicas": 3,
    "settings": {"strict": True, "retention": [{"days": 30, "labels": {"team": "search"}}]},
    "probes": "command",
    "admin": {"enabled": True, "from": [{"podSelector": {"matchLabels": {"operates": "yes"}}}]},
    "metrics": {
        "enabled": True, "serviceMonitor": True,
        "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
    },
    "networkPolicy": {"enabled": True, "from": [{"podSelector": {"matchLabels": {"calls": "yes"}}}]},
    "files": [
        {"name": "catalog", "mountPath": "/etc/mitsumori/catalog", "volume": {"configMap": {"name": "c"}}}
    ],
    "imagePullSecrets": [{"name": "pull"}],
    "podAnnotations": {"team": "search"},
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "tolerations": [{"key": "llm", "operator": "Exists"}],
    "service": {"headless": False, "annotations": {"a": "b"}},
}  # fmt: skip


def rendered(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Manifests by kind."""
    import helm_python

    with helm_python.Chart.load(str(CHART)) as chart:
        files = chart.render(values, name="quotes", namespace="llm")
    manifests = [
        document
        for name, text in files.items()
        if name.endswith(".yaml")
        for document in yaml.safe_load_all(text)
        if document
    ]
    # The Service of administration comes under its name.
    return {
        "AdminService"
        if manifest["metadata"]["name"].endswith("-admin")
        else manifest["kind"]: manifest
        for manifest in manifests
    }


def pod_of(values: dict[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = rendered(values)["Deployment"]["spec"]["template"]["spec"]
    return pod


def refusal_of(values: dict[str, Any]) -> str:
    import helm_python

    with pytest.raises(helm_python.HelmError) as refused:
        rendered(values)
    return str(refused.value)


@pytest.mark.parametrize("values", [ON_POSTGRESQL, ON_SQLITE, EVERYTHING])
def test_helm_lint_finds_nothing(values: dict[str, Any]) -> None:
    import helm_python

    found = helm_python.lint(str(CHART), values)
    assert [one["error"] for one in found["messages"]] == ["icon is recommended"]


def each_manifest() -> Iterator[tuple[str, dict[str, Any]]]:
    for values in (ON_POSTGRESQL, ON_SQLITE, EVERYTHING):
        yield from rendered(values).items()


def test_kubernetes_would_accept_every_manifest() -> None:
    import kubernetes_validate

    kinds = set()
    for kind, manifest in each_manifest():
        kinds.add(kind)
        if kind != "ServiceMonitor":  # of the Prometheus operator, whose schema is not Kubernetes'
            kubernetes_validate.validate(manifest, "1.31", strict=True)
    assert kinds == {"ConfigMap", "Deployment", "NetworkPolicy", "PersistentVolumeClaim",
                     "PodDisruptionBudget", "Service", "AdminService", "ServiceMonitor"}  # fmt: skip


@pytest.mark.parametrize("values", [ON_POSTGRESQL, ON_SQLITE, EVERYTHING])
def test_the_pod_may_do_no_more_than_it_must(values: dict[str, Any]) -> None:
    pod = pod_of(values)
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    [container] = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    written = {
        mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")
    }
    assert written == {"/var/lib/mitsumori", "/tmp"}


def test_variables_of_other_services_are_not_read_as_settings() -> None:
    # A service named mitsumori would set MITSUMORI_PORT=tcp://10.0.0.1:50051 in every pod.
    assert pod_of(ON_POSTGRESQL)["enableServiceLinks"] is False


def test_a_store_that_is_away_takes_the_pod_out_of_service_and_does_not_restart_it() -> None:
    [container] = pod_of(IN_A_MESH)["containers"]
    assert container["readinessProbe"]["grpc"] == {"port": 50051}
    assert container["startupProbe"]["grpc"] == {"port": 50051}
    assert container["livenessProbe"]["grpc"] == {"port": 50051, "service": PROCESS}
    [with_tls] = pod_of(ON_POSTGRESQL)["containers"]  # the kubelet asks no server with TLS
    assert with_tls["readinessProbe"]["exec"]["command"][:2] == ["mitsumori", "health"]
    assert with_tls["livenessProbe"]["tcpSocket"] == {"port": 50051}


def variables_of(values: dict[str, Any]) -> dict[str, str]:
    [container] = pod_of(values)["containers"]
    return {one["name"]: one["value"] for one in container["env"]}


def test_every_variable_is_a_setting_or_an_option_of_commands() -> None:
    settings = {f"MITSUMORI_{name.upper()}" for name in Settings.model_fields}
    named = variables_of(EVERYTHING).keys() | variables_of(IN_A_MESH).keys()
    assert named - settings == {
        "MITSUMORI_CONFIG", "MITSUMORI_TLS", "MITSUMORI_CA", "MITSUMORI_SERVER_NAME"
    }  # fmt: skip


def test_a_server_that_other_pods_reach_has_tls_and_credentials_or_is_said_to_have_neither() -> (
    None
):
    protected = variables_of(ON_POSTGRESQL)
    assert protected["MITSUMORI_TLS_CERTIFICATE"] == "/etc/mitsumori/tls/tls.crt"
    assert protected["MITSUMORI_KEY_STORE"] == "/etc/mitsumori/keys/keys.json"
    assert "MITSUMORI_INSECURE" not in protected
    assert variables_of(IN_A_MESH)["MITSUMORI_INSECURE"] == "true"
    alone = {"secretName": "mitsumori-ledger"}
    for part in ({}, {"tls": PROTECTED["tls"]}, {"keyStore": PROTECTED["keyStore"]}):
        assert "other pods reach the server" in refusal_of({**alone, **part})
    nameless = {**ON_POSTGRESQL, "tls": {"secretName": "mitsumori-tls"}}
    assert "tls.secretName needs tls.serverName" in refusal_of(nameless)


def test_administration_stays_in_the_pod_unless_it_is_wanted() -> None:
    inside = rendered(ON_POSTGRESQL)
    assert "AdminService" not in inside
    assert variables_of(ON_POSTGRESQL)["MITSUMORI_ADMIN_HOST"] == "127.0.0.1"
    offered = rendered(EVERYTHING)
    assert variables_of(EVERYTHING)["MITSUMORI_ADMIN_HOST"] == "0.0.0.0"
    [port] = offered["AdminService"]["spec"]["ports"]
    assert port == {"name": "admin", "port": 50052, "targetPort": "admin"}
    calls, scrapes, administers = offered["NetworkPolicy"]["spec"]["ingress"]
    assert (calls["ports"], scrapes["ports"]) == ([{"port": "grpc"}], [{"port": "metrics"}])
    assert (administers["ports"], administers["from"]) == (
        [{"port": "admin"}], EVERYTHING["admin"]["from"],  # type: ignore[index]
    )  # fmt: skip
    assert "without credentials" in refusal_of({**IN_A_MESH, "admin": {"enabled": True}})


def test_metrics_stay_in_the_pod_unless_they_are_wanted() -> None:
    assert "MITSUMORI_METRICS_HOST" not in variables_of(ON_POSTGRESQL)
    offered = variables_of(EVERYTHING)
    assert offered["MITSUMORI_METRICS_HOST"] == "0.0.0.0"
    assert offered["MITSUMORI_METRICS_PORT"] == "9464"
    elsewhere = {**EVERYTHING, "metrics": {"enabled": True, "port": 9500, "serviceMonitor": False}}
    assert variables_of(elsewhere)["MITSUMORI_METRICS_PORT"] == "9500"
    [container] = pod_of(elsewhere)["containers"]
    assert {"name": "metrics", "containerPort": 9500} in container["ports"]


def test_only_who_scrapes_reaches_the_metrics_where_a_policy_says_who_calls() -> None:
    calls, scrapes, _ = rendered(EVERYTHING)["NetworkPolicy"]["spec"]["ingress"]
    assert calls["from"] == EVERYTHING["networkPolicy"]["from"]  # type: ignore[index]
    assert scrapes["from"] == EVERYTHING["metrics"]["from"]  # type: ignore[index]


def test_each_of_several_processes_is_scraped() -> None:
    metrics = {"enabled": True, "port": 9500, "serviceMonitor": True}
    manifests = rendered({**EVERYTHING, "settings": {"processes": 3}, "metrics": metrics})
    names = {"metrics": 9500, "metrics-2": 9501, "metrics-3": 9502}
    [container] = manifests["Deployment"]["spec"]["template"]["spec"]["containers"]
    opened = {one["name"]: one["containerPort"] for one in container["ports"]}
    assert opened == {"grpc": 50051, "admin": 50052, **names}
    served = {one["name"]: one["port"] for one in manifests["Service"]["spec"]["ports"]}
    assert served == {"grpc": 50051, **names}
    assert {one["targetPort"] for one in manifests["Service"]["spec"]["ports"]} == {"grpc", *names}
    scraped = [one["port"] for one in manifests["ServiceMonitor"]["spec"]["endpoints"]]
    assert sorted(scraped) == sorted(names)
    _, scrapes, _ = manifests["NetworkPolicy"]["spec"]["ingress"]
    assert sorted(one["port"] for one in scrapes["ports"]) == sorted(names)
    assert "metrics-2" not in str(rendered(EVERYTHING))


def test_the_job_of_the_service_monitor_is_the_one_that_alerts_ask_for() -> None:
    # The operator names the job after this label of the Service; without it, after the Service.
    manifests = rendered(EVERYTHING)
    label = manifests["ServiceMonitor"]["spec"]["jobLabel"]
    job = manifests["Service"]["metadata"]["labels"][label]
    rules = (CHART.parents[1] / "prometheus/rules.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r'job="([^"]+)"', rules)) == {job}


README = (CHART.parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_values_that_the_page_shows_start_a_server() -> None:
    shown = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)]
    assert len(shown) == 2
    assert "ServiceMonitor" not in rendered({**shown[0], **shown[1]})
    assert rendered({**shown[0], **shown[1], "metrics": {"enabled": True, "serviceMonitor": True}})


def test_the_rules_become_a_rule_of_the_operator_as_the_page_shows() -> None:
    [made] = re.findall(r"^\$ (\{ echo .*?\}) \| kubectl", README, re.DOTALL | re.MULTILINE)
    done = run("bash", "-c", made, cwd=CHART.parents[2])
    manifest = yaml.safe_load(done.stdout)
    assert (manifest["kind"], manifest["metadata"]) == ("PrometheusRule", {"name": "mitsumori"})
    rules = yaml.safe_load((CHART.parents[1] / "prometheus/rules.yaml").read_text(encoding="utf-8"))
    assert manifest["spec"] == rules


def test_a_pod_has_time_to_drain() -> None:
    pod = pod_of(ON_POSTGRESQL)
    [container] = pod["containers"]
    before = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    drain = Settings.model_fields["drain_s"].default
    assert before + drain < pod["terminationGracePeriodSeconds"]


def test_the_settings_reach_the_server_as_its_file() -> None:
    manifests = rendered(EVERYTHING)
    settings = yaml.safe_load(manifests["ConfigMap"]["data"]["settings.yaml"])
    assert settings == EVERYTHING["settings"]
    assert Settings(**settings).strict
    pod = manifests["Deployment"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    [config] = [one["value"] for one in container["env"] if one["name"] == "MITSUMORI_CONFIG"]
    assert config == "/etc/mitsumori/settings/settings.yaml"
    assert container["envFrom"] == [{"secretRef": {"name": "mitsumori-ledger"}}]


def test_changed_settings_restart_the_pods() -> None:
    first, second = (
        rendered({**ON_POSTGRESQL, "settings": {"strict": strict}})["Deployment"]["spec"][
            "template"
        ]
        for strict in (True, False)
    )
    key = "checksum/settings"
    assert first["metadata"]["annotations"][key] != second["metadata"]["annotations"][key]


def test_one_sqlite_file_has_one_writer() -> None:
    sqlite = rendered(ON_SQLITE)
    assert sqlite["Deployment"]["spec"]["strategy"] == {"type": "Recreate"}
    assert sqlite["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteOncePod"]
    assert sqlite["PersistentVolumeClaim"]["metadata"]["annotations"] == {
        "helm.sh/resource-policy": "keep"
    }
    two = {**ON_SQLITE, **ON_POSTGRESQL, "replicas": 2}
    assert "a SQLite ledger has one writer" in refusal_of(two)
    assert "more than one replica needs a shared ledger" in refusal_of({})
    assert rendered(
        {**PROTECTED, "settings": {"ledger": "postgresql://mitsumori@postgres/mitsumori"}}
    )


@pytest.mark.parametrize(
    "values",
    [
        {"replica": 1},
        {"replicas": 0},
        {"probes": "http"},
        {"settings": {"prompt_key": "in the open"}},
        {"settings": {"port": 6000}},
        {"settings": {"processes": 0}},
        {"settings": {"admin_port": 6000}},
        {"settings": {"insecure": True}},
        {"settings": {"key_store": "/elsewhere"}},
        {"files": [{"name": "c", "mountPath": "relative", "volume": {}}]},
    ],
)
def test_wrong_values_are_refused(values: dict[str, Any]) -> None:
    assert "values don't meet the specifications" in refusal_of({**ON_POSTGRESQL, **values})
