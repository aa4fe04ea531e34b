"""Catalog and settings that change while the server runs: swapped under load, or refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from benchmarks.reloads import SHIPPED, Mixture, reloading, swap_in_turn
from benchmarks.swaps import Callers, bad_bundle, bundle_named
from mitsumori import Admin, Router
from mitsumori.v1 import admin_pb2
from router.cli.demo import serving
from router.decision_log.record_json import parse
from tests.readiness import PATIENCE_S, wait_until

SWAPS = 20


def test_swaps_of_bundle_catalog_and_settings_under_load_fail_no_call_and_mix_nothing(
    tmp_path: Path,
) -> None:
    bundles = [bundle_named(name, tmp_path)[0] for name in ("first", "second")]
    mixture = Mixture()
    with (
        reloading(tmp_path, bundles[0], tmp_path / "log") as (links, address),
        Callers(address, count=2, is_mixed=mixture.found) as callers,
    ):
        for name, works in swap_in_turn(links, bundles, SWAPS):
            assert works, f"{name} was not swapped"
    assert callers.failed == []
    assert callers.mixed == []
    assert callers.answered > SWAPS
    assert len(callers.versions) == len(mixture.catalogs) == len(mixture.settings) == 2


# ── one server, many offers ───────────────────────────────────────────────────────────────────────


class Served:
    """A server that follows a catalog and a settings file, and what it says of them."""

    def __init__(self, folder: Path, address: str, process: subprocess.Popen[str]) -> None:
        self.catalog, self.settings = folder / "catalog.yaml", folder / "settings.yaml"
        self.log, self.address, self._process = folder / "log", address, process

        self._first = {name: self.input(name).version for name in ("catalog", "settings")}

    def is_first(self, name: str) -> bool:
        now = self.input(name)
        return now.version == self._first[name] and not now.HasField("refusal")

    def signal(self) -> None:
        self._process.send_signal(signal.SIGHUP)

    def input(self, name: str) -> admin_pb2.ServedInput:
        with Admin(self.address, timeout_s=PATIENCE_S) as admin:
            return next(each for each in admin.inputs() if each.name == name)

    def events(self, name: str) -> list[dict[str, str]]:
        lines = map(json.loads, self.log.read_text(encoding="utf-8").splitlines())
        return [line for line in lines if line["event"] == name]


FIRST = "hold_ttl_s: 600\nlog_level: info\n"


@contextmanager
def followed(folder: Path, *flags: str) -> Iterator[tuple[Served, Router]]:
    (folder / "catalog.yaml").write_bytes(SHIPPED.read_bytes())
    (folder / "settings.yaml").write_text(FIRST)
    command = ["--catalog", str(folder / "catalog.yaml"), "--config", str(folder / "settings.yaml")]
    with (
        (folder / "log").open("w") as out,
        serving(*command, "--reload-every-s", "0.05", *flags, log=out) as (address, process),
        Router(address, timeout_s=PATIENCE_S) as client,
    ):
        yield Served(folder, address, process), client


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Router]]:
    with followed(tmp_path_factory.mktemp("followed")) as both:
        yield both


@pytest.fixture
def served(running: tuple[Served, Router]) -> Iterator[tuple[Served, Router]]:
    """The server that all share, with its first catalog and settings again after each test."""
    yield running
    server, _ = running
    if server.catalog.is_dir():
        server.catalog.rmdir()
    else:
        server.catalog.unlink(missing_ok=True)
    server.catalog.write_bytes(SHIPPED.read_bytes())
    server.settings.write_text(FIRST)
    server.signal()
    for name in ("catalog", "settings"):
        wait_until(lambda name=name: server.is_first(name))  # type: ignore[misc]


def _cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-700])


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _huge(path: Path) -> None:
    path.write_bytes(b"- x: 1\n" * (24 << 20 >> 3))


def _other_past_price(path: Path) -> None:
    content = yaml.safe_load(path.read_text())
    content["models"][0]["prices"] = [
        {"from": "2020-01-01", "input_usd_per_mtok": "77", "output_usd_per_mtok": "88"}
    ]
    path.write_text(yaml.safe_dump(content))


def _tiers_of_no_bundle(path: Path) -> None:
    content = yaml.safe_load(path.read_text())
    content["tiers"] = ["small", "large"]
    content["default_lengths"] = {tier: {"p50": 1, "p90": 2, "p99": 3} for tier in content["tiers"]}
    for model in content["models"]:
        model["tier"] = "small"
    path.write_text(yaml.safe_dump(content))


@pytest.mark.parametrize(
    ("spoil", "reason", "why"),
    [
        (_cut_short, "", "is not valid YAML"),
        (lambda path: path.write_text("models: []"), "CATALOG_WRONG", "tiers"),
        (lambda path: path.write_text("]" * 9), "", "is not valid YAML"),
        (lambda path: path.unlink(), "CATALOG_MISSING", "No such file"),
        (_pipe, "CATALOG_MISSING", "it is a pipe"),
        (_directory, "CATALOG_MISSING", "directory"),
        (_huge, "CATALOG_MISSING", "more than 1 MiB"),
        (_other_past_price, "PAST_PRICE_CHANGED", "prices of the past stay"),
        (_tiers_of_no_bundle, "ARMS_MISSING", "has an arm"),
    ],
)
def test_a_catalog_that_cannot_serve_is_refused_in_one_line_and_the_one_before_stays(
    spoil: Callable[[Path], None], reason: str, why: str, served: tuple[Served, Router]
) -> None:
    server, client = served
    before = client.route("hello").message.catalog_version
    lines = len(server.events("catalog_refused"))
    spoil(server.catalog)
    wait_until(lambda: server.input("catalog").HasField("refusal"))
    refusal = server.input("catalog").refusal
    assert reason in refusal.reason
    assert why in refusal.text
    assert str(server.catalog) in refusal.text + server.input("catalog").source
    assert server.input("catalog").version == before
    assert client.route("hello").message.catalog_version == before
    (line,) = server.events("catalog_refused")[lines:]
    assert line["detail"] == refusal.text
    assert "\n" not in line["detail"]
    assert line["serving"] == before


def test_settings_that_can_change_do_and_the_record_tells_which_decided(
    served: tuple[Served, Router],
) -> None:
    server, client = served
    before = client.route("hello")
    server.settings.write_text("hold_ttl_s: 60\nlog_level: info\nmiss_costs: {high: 9}\n")
    wait_until(lambda: client.route("hello").message.settings_version
               != before.message.settings_version)  # fmt: skip
    after = client.route("hello", importance="high")
    assert before.hold is not None
    assert after.hold is not None
    assert (before.hold.expires - before.quote.expires).total_seconds() == 300
    assert (after.hold.expires - after.quote.expires).total_seconds() == -240
    with Admin(server.address, timeout_s=PATIENCE_S) as admin:
        records = {
            row.decision_id: parse(row.record_json)
            for row in admin.decisions(admin_pb2.DecisionFilter())
        }
    for decision in (before, after):
        record = records[decision.id]
        assert record.settings == decision.message.settings_version
        assert record.price_table.endswith(decision.message.catalog_version)
        assert record.bundle == decision.bundle
    server.settings.write_text(FIRST)
    wait_until(lambda: client.route("hello").message.settings_version
               == before.message.settings_version)  # fmt: skip


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("admin_port: 1\n", ": admin_port cannot change while the server runs; restart it"),
        (
            "workers: 9\nbundle: elsewhere\n",
            ": bundle and workers cannot change while the server runs",
        ),
        ("max_prompt_bytes: 50000000\n", "max_prompt_bytes cannot rise above 1048576"),
        ("hold_ttl_s: -1\n", "setting hold_ttl_s"),
        ("hold_ttl: 1\n", "did you mean hold_ttl_s?"),
        ("]\n", "is not valid YAML"),
    ],
)
def test_settings_that_cannot_change_are_refused_by_name(
    content: str, why: str, served: tuple[Served, Router]
) -> None:
    server, client = served
    before = client.route("hello").message.settings_version
    server.settings.write_text(FIRST + content)
    wait_until(lambda: server.input("settings").HasField("refusal"))
    assert why in server.input("settings").refusal.text
    assert client.route("hello").message.settings_version == before


def test_a_smaller_bound_on_prompts_and_another_level_of_the_log_take_effect(
    served: tuple[Served, Router],
) -> None:
    server, client = served
    before = server.input("settings").version
    server.settings.write_text("hold_ttl_s: 600\nlog_level: warning\nmax_prompt_bytes: 100\n")
    wait_until(lambda: server.input("settings").version != before)
    lines = len(server.events("routed"))
    with pytest.raises(Exception, match="100"):
        client.route("x" * 101)
    client.route("hello")
    server.settings.write_text(FIRST)
    wait_until(lambda: server.input("settings").version == before)
    assert len(server.events("routed")) == lines
    client.route("x" * 101)


def test_a_decision_settles_after_its_model_has_left_the_catalog(
    served: tuple[Served, Router],
) -> None:
    server, client = served
    before = client.route("hello")
    content = yaml.safe_load(SHIPPED.read_text())
    content["models"] = [one for one in content["models"] if one["id"] != before.model]
    server.catalog.write_text(yaml.safe_dump(content))
    wait_until(lambda: client.route("hello").model != before.model)
    settled = client.settle(before.id, input_tokens=100, output_tokens=100)
    assert settled.spent.nanos > 0


def test_a_command_lists_the_versions_in_use_and_what_was_refused(
    served: tuple[Served, Router],
) -> None:
    server, client = served
    server.settings.write_text("workers: 9\n")
    wait_until(lambda: server.input("settings").HasField("refusal"))
    shown = subprocess.run(
        [sys.executable, "-m", "router", "inputs", "--server", server.address, "--json"],
        capture_output=True, text=True, timeout=PATIENCE_S, check=True,
    )  # fmt: skip
    settings, catalog, rules, bundle = json.loads(shown.stdout)
    message = client.route("hello").message
    assert [each["name"] for each in (settings, catalog, rules, bundle)] == [
        "settings", "catalog", "rules", "bundle",
    ]  # fmt: skip
    assert rules["version"] == message.rules_version
    assert settings["version"] == message.settings_version
    assert catalog["version"] == message.catalog_version
    assert bundle["version"] == message.bundle_version
    assert catalog["source"] == str(server.catalog)
    assert settings["refused"].startswith("RESTART_NEEDED: ")
    assert catalog["refused"] == bundle["refused"] == ""


def test_a_bundle_that_did_not_fit_the_catalog_serves_once_another_catalog_fits(
    tmp_path: Path,
) -> None:
    bundle, before = bundle_named("served", tmp_path)
    without_high = bad_bundle("an arm missing", tmp_path, bundle)
    with followed(tmp_path, "--bundle", str(bundle)) as (server, client):
        shutil.copy(without_high / "manifest.json", bundle / "manifest.json")
        wait_until(lambda: server.input("bundle").refusal.reason == "ARMS_MISSING")
        assert client.route("hello").bundle == before
        content = yaml.safe_load(SHIPPED.read_text())
        content["models"] = [one for one in content["models"] if one["tier"] != "high"]
        server.catalog.write_text(yaml.safe_dump(content))
        wait_until(lambda: client.route("hello").bundle != before)
        # The new bundle serves a moment before it is told so.
        wait_until(lambda: not server.input("bundle").HasField("refusal"))
        assert len(server.events("bundle_refused")) == 1


def test_without_a_period_only_a_signal_looks(tmp_path: Path) -> None:
    with followed(tmp_path, "--reload-every-s", "0") as (server, client):
        before = client.route("hello").message.catalog_version
        server.catalog.write_bytes(SHIPPED.read_bytes() + b"# one more line\n")
        assert client.route("hello").message.catalog_version == before
        server.signal()
        wait_until(lambda: client.route("hello").message.catalog_version != before)
