"""Serving from the store that training writes on this machine, without any MLflow server."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from benchmarks.swaps import Callers, bundle_named
from mitsumori import Router
from router.classifier.registry import DEFAULT_STORE
from router.cli.demo import serving
from tests.readiness import PATIENCE_S, wait_until
from training.tracking.promotion import CHAMPION, ChampionAlias
from training.tracking.runs import start_run
from training.tracking.store import MODEL, tracking_uri

ADDRESS = f"models:/{MODEL}@{CHAMPION}"
FLAGS = ["--bundle", ADDRESS, "--reload-every-s", "0"]


class Checkout:
    """A working directory in which training has made its store, and nothing names a registry."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.client = MlflowClient(tracking_uri=tracking_uri(), registry_uri=tracking_uri())

    def register(self, name: str) -> tuple[int, str]:
        directory, version = bundle_named(name, self.folder)
        with start_run(tracking_uri(), name=name, tags={}) as run:
            run.log_bundle(directory)
            return run.register(), version

    def crown(self, number: int) -> None:
        alias = ChampionAlias(tracking_uri())
        alias.promote(number, alias.champion(), {"gate_found": "beats the champion"})

    def stored(self, number: int) -> Path:
        source: str = self.client.get_model_version(MODEL, str(number)).source
        return Path(source.removeprefix("file://"))


@pytest.fixture
def checkout(tmp_path: Path, mlflow_database: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MITSUMORI_REGISTRY", raising=False)
    monkeypatch.setenv("MITSUMORI_REGISTRY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    DEFAULT_STORE.parent.mkdir(parents=True)
    shutil.copy(mlflow_database, DEFAULT_STORE)
    return Checkout(tmp_path)


def mitsumori(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "router", *words],
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip


def test_what_is_promoted_is_served_and_the_next_champion_too(
    checkout: Checkout, tmp_path: Path
) -> None:
    one, at_first = checkout.register("one")
    two, at_last = checkout.register("two")
    altered, _ = checkout.register("altered")
    with (checkout.stored(altered) / "classifier.onnx").open("ab") as file:
        file.write(b"x")
    checkout.crown(one)
    log = tmp_path / "log"
    with (
        log.open("w") as out,
        serving(*FLAGS, log=out) as (address, process),
        Router(address, timeout_s=PATIENCE_S) as client,
        Callers(address, count=2) as callers,
    ):
        assert client.route("hello").bundle == at_first
        checkout.crown(altered)
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: "bundle_refused" in log.read_text())
        assert client.route("hello").bundle == at_first
        checkout.crown(two)
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: client.route("hello").bundle == at_last)
    assert callers.failed == []
    assert "HASH_MISMATCH" in log.read_text()
    # The store is gone: what served last serves again.
    shutil.rmtree(tmp_path / "build")
    served = ["--registry", tracking_uri(), *FLAGS]
    with (
        log.open("w") as out,
        serving(*served, log=out) as (address, _),
        Router(address, timeout_s=PATIENCE_S) as client,
    ):
        assert client.route("hello").bundle == at_last
    assert "cached_bundle_serves" in log.read_text()


def test_one_version_is_served_for_good_and_the_doctor_names_the_place(
    checkout: Checkout,
) -> None:
    number, version = checkout.register("fixed")
    address = f"models:/{MODEL}/{number}"
    with (
        serving("--bundle", address) as (server, _),
        Router(server, timeout_s=PATIENCE_S) as client,
    ):
        assert client.route("hello").bundle == version
    seen = mitsumori("doctor", "--bundle", address, "--port", "0", "--json")
    checks = {check["check"]: check for check in json.loads(seen.stdout)}
    assert f"{address} (version {number}) is {version}" in checks["bundle"]["detail"]
    assert checks["scoring"]["ok"]
    unknown = mitsumori("doctor", "--bundle", ADDRESS, "--port", "0", "--json")
    checks = {check["check"]: check for check in json.loads(unknown.stdout)}
    assert f"has no {ADDRESS}; name a registered version or an alias" in checks["bundle"]["detail"]


def test_without_a_store_one_line_says_what_to_do(checkout: Checkout, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "build")
    refused = mitsumori("serve", *FLAGS, "--port", "0", "--ledger", "memory:")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("error: ")
    assert refused.stderr.count("\n") == 1
    assert "sqlite:///PATH" in refused.stderr
