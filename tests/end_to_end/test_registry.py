"""Serving from a real MLflow server's registry: alias moved, artifacts spoiled, server gone."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from mlflow import MlflowClient

from benchmarks.swaps import Callers, bad_bundle, bundle_named
from mitsumori import Router
from router.cli.demo import serving
from tests.end_to_end.mlflow_server import forwarded, mlflow_server
from tests.readiness import PATIENCE_S, wait_until
from training.tracking.runs import start_run
from training.tracking.store import MODEL

CHAMPION = f"models:/{MODEL}@champion"


class World:
    """A tracking server with bundles in its registry."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder, self.address = folder, address
        self.client = MlflowClient(tracking_uri=address, registry_uri=address)

    def register(self, directory: Path) -> int:
        with start_run(self.address, name=directory.name, tags={}) as run:
            run.log_bundle(directory)
            return run.register()

    def crown(self, version: int) -> None:
        self.client.set_registered_model_alias(MODEL, "champion", str(version))

    def stored(self, version: int) -> Path:
        """Where the server keeps the artifacts of a version."""
        source = self.client.get_model_version(MODEL, str(version)).source
        return self.folder / "artifacts" / source.removeprefix("mlflow-artifacts:/")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("mlflow")
    shutil.copy(mlflow_database, folder)
    with mlflow_server(folder) as address:
        yield World(folder, address)


def flags(registry: str) -> list[str]:
    return ["--bundle", CHAMPION, "--registry", registry, "--reload-every-s", "0"]


def events(log: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def mitsumori(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "router", *words],
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip


def test_the_alias_moves_and_the_server_follows_but_not_to_a_bundle_that_cannot_serve(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MITSUMORI_REGISTRY_CACHE", str(tmp_path / "cache"))
    (first, at_first), (second, at_last) = (bundle_named(n, tmp_path) for n in ("one", "two"))
    one, two = world.register(first), world.register(second)
    altered = world.register(bundle_named("altered", tmp_path)[0])
    with (world.stored(altered) / "classifier.onnx").open("ab") as file:
        file.write(b"x")
    # Altered with all its hashes: only the registry's own record can tell.
    sealed = world.register(bundle_named("sealed", tmp_path)[0])
    for path in bad_bundle("pickled", tmp_path).iterdir():
        (world.stored(sealed) / path.name).write_bytes(path.read_bytes())
    cut = world.register(bundle_named("cut", tmp_path)[0])
    (world.stored(cut) / "classifier.onnx").unlink()
    pickled = world.register(bad_bundle("pickled", tmp_path / "again"))
    unknown = world.register(bad_bundle("unknown encoder", tmp_path))
    world.crown(one)
    log = tmp_path / "log"
    with (
        log.open("w") as out,
        serving(*flags(world.address), log=out) as (address, process),
        Router(address, timeout_s=PATIENCE_S) as client,
        Callers(address, count=2) as callers,
    ):
        assert client.route("hello").bundle == at_first
        for count, bad in enumerate((altered, sealed, cut, pickled, unknown), start=1):
            world.crown(bad)
            process.send_signal(signal.SIGHUP)
            wait_until(lambda count=count: log.read_text().count("bundle_refused") == count)  # type: ignore[misc]
            assert client.route("hello").bundle == at_first
        world.crown(two)
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: client.route("hello").bundle == at_last)
    assert callers.failed == []
    assert callers.versions <= {at_first, at_last}
    assert [entry["reason"] for entry in events(log) if entry["event"] == "bundle_refused"] == [
        "HASH_MISMATCH", "HASH_MISMATCH", "FILE_MISSING", "BUNDLE_DAMAGED", "ENCODER_MISSING",
    ]  # fmt: skip
    assert list((tmp_path / "cache").rglob("unpickled")) == []


def test_one_version_for_good_and_the_doctor_sees_it(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MITSUMORI_REGISTRY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", world.address)
    bundle, version = bundle_named("fixed", tmp_path)
    number = world.register(bundle)
    address = f"models:/{MODEL}/{number}"
    seen = mitsumori("doctor", "--bundle", address, "--port", "0", "--json")
    checks = {check["check"]: check for check in json.loads(seen.stdout)}
    assert checks["bundle"]["ok"], checks
    assert f"{address} (version {number}) is {version}" in checks["bundle"]["detail"]
    assert checks["scoring"]["ok"]
    assert checks["tiers"]["ok"]
    unknown = mitsumori("doctor", "--bundle", f"models:/{MODEL}/999", "--port", "0", "--json")
    checks = {check["check"]: check for check in json.loads(unknown.stdout)}
    assert "has no models:/mitsumori/999" in checks["bundle"]["detail"]


def test_while_the_registry_is_away_the_cached_bundle_serves_or_one_line_says_what_to_do(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("MITSUMORI_REGISTRY_CACHE", str(cache))
    bundle, version = bundle_named("cached", tmp_path)
    log = tmp_path / "log"
    with ExitStack() as stack:
        with forwarded(world.address) as registry:
            world.crown(world.register(bundle))
            out = stack.enter_context(log.open("w"))
            where, process = stack.enter_context(serving(*flags(registry), log=out))
        # It is gone; what serves goes on, and says so at the next look.
        client = stack.enter_context(Router(where, timeout_s=PATIENCE_S))
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: "job_failed" in log.read_text())
        assert client.route("hello").bundle == version
    with (
        log.open("w") as out,
        serving(*flags(registry), log=out) as (where, _),
        Router(where, timeout_s=PATIENCE_S) as client,
    ):
        assert client.route("hello").bundle == version
    told = next(entry for entry in events(log) if entry["event"] == "cached_bundle_serves")
    assert (told["bundle"], told["reason"]) == (version, "REGISTRY_UNAVAILABLE")
    # A damaged cache is no way round the hashes, and an empty one is none at all.
    for folder in cache.rglob("classifier.onnx"):
        folder.write_bytes(b"x")
    for empty in (False, True):
        if empty:
            cache.rename(tmp_path / "gone")
        refused = mitsumori("serve", *flags(registry), "--port", "0", "--ledger", "memory:")
        assert (refused.returncode, refused.stdout) == (2, "")
        assert refused.stderr.startswith("error: ")
        assert refused.stderr.count("\n") == 1
    assert f"the registry {registry} does not answer" in refused.stderr
