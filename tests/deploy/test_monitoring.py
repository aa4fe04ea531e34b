"""Dashboards and alert rules ask only for what the server offers, and every alert has a page to open."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from router.telemetry.metric_names import METRICS
from tests.deploy.programs import program, run

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus/rules.yaml"
DASHBOARD = ROOT / "deploy/grafana/mitsumori.json"
OF_SCRAPING = {"job", "instance"}
GROUPS: list[dict[str, Any]] = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
EVERY_RULE = [rule for group in GROUPS for rule in group["rules"]]
RECORDED = {rule["record"] for rule in EVERY_RULE if "record" in rule}
ALERTS = [rule for rule in EVERY_RULE if "alert" in rule]
PANELS = [
    panel
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    if panel["type"] != "row"
]


def series_names() -> dict[str, tuple[str, ...]]:
    """Names of labels by name of series, as Prometheus stores what is exported; a histogram has three."""
    names: dict[str, tuple[str, ...]] = {}
    for metric in METRICS:
        if metric.kind == "histogram":
            names[f"{metric.name}_bucket"] = (*metric.labels, "le")
            names[f"{metric.name}_sum"] = names[f"{metric.name}_count"] = metric.labels
        else:
            names[metric.name] = metric.labels
    return names


def used(expression: str) -> tuple[set[str], set[str]]:
    """Names of series, and names of labels, that an expression of PromQL uses."""
    series: set[str] = set()
    labels: set[str] = set()

    def visit(node: Any) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            series.add(str(node.name))
            labels.update(matcher.name for matcher in node.matchers.matchers)
        elif isinstance(node, promql_parser.AggregateExpr) and node.modifier:
            labels.update(node.modifier.labels)
        return True

    promql_parser.walk(promql_parser.parse(expression), visit)
    return series, labels


def plain(expression: str) -> str:
    """An expression of Grafana with its variables filled in."""
    return expression.replace("$__rate_interval", "5m").replace("$job", "mitsumori")


EXPRESSIONS = [rule["expr"] for rule in EVERY_RULE] + [
    plain(target["expr"]) for panel in PANELS for target in panel["targets"]
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_uses_only_what_is_offered(expression: str) -> None:
    series, labels = used(expression)
    known = series_names()
    assert series - set(known) - RECORDED - {"up"} == set()
    offered = {label for name in series & set(known) for label in known[name]}
    assert labels - offered - OF_SCRAPING == set()


def test_every_metric_is_on_the_dashboard() -> None:
    shown = " ".join(target["expr"] for panel in PANELS for target in panel["targets"])
    assert [metric.name for metric in METRICS if metric.name not in shown] == []


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("page", "ticket")
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^## (.+)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert anchor in {heading.lower().replace(" ", "-") for heading in headings}


def test_every_alert_is_tried() -> None:
    tried = RULES.with_name("rules_test.yaml").read_text(encoding="utf-8")
    fired = set(re.findall(r"alertname: (\w+)\n +exp_alerts:", tried))
    slow_burn = {
        "MitsumoriFailuresSlow"
    }  # the same expression as the fast one, over longer windows
    assert {rule["alert"] for rule in ALERTS} - fired == slow_burn


def test_no_two_panels_overlap() -> None:
    cells = [
        (x, y)
        for panel in PANELS
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_names_follow_the_conventions_of_prometheus() -> None:
    for metric in METRICS:
        assert re.fullmatch(r"(mitsumori|rpc_server|gen_ai)_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert bool(metric.buckets) == (metric.kind == "histogram")
        assert list(metric.buckets) == sorted(set(metric.buckets))
        assert metric.description.endswith(".")


def test_what_others_may_export_too_is_asked_for_by_our_methods_alone() -> None:
    # Every gRPC server that follows the convention has this name, and so have all in one Prometheus.
    for rule in EVERY_RULE:
        for labels in re.findall(r"rpc_server_call_duration_seconds_\w+(\{[^}]*\}|)", rule["expr"]):
            assert re.search(r'rpc_method=~?"mitsumori', labels), rule["expr"]


@pytest.mark.deploy
def test_promtool_reads_the_expressions_of_the_dashboard(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": plain(target["expr"])}
        for number, target in enumerate(target for panel in PANELS for target in panel["targets"])
    ]
    path = tmp_path / "panels.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = run(program("promtool", needed=False), "check", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules)} rules found" in done.stdout


@pytest.mark.deploy
@pytest.mark.parametrize(
    "words", [("check", "config", "prometheus.yaml"), ("test", "rules", "rules_test.yaml")]
)
def test_promtool_accepts_and_tries_the_rules(words: tuple[str, ...]) -> None:
    # Debian has it in the package prometheus.
    done = run(program("promtool", needed=False), *words, cwd=RULES.parent)
    assert done.returncode == 0, done.stdout + done.stderr
