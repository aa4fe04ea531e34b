"""Bundles that change while the server runs: swapped under load, refused where they cannot serve."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.swaps import BAD, Callers, bad_bundle, bundle_named, swapping
from mitsumori import Router
from router.cli.demo import serving
from tests.readiness import PATIENCE_S, wait_until

SWAPS = 21


def events(log: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def test_swaps_under_load_fail_no_request_and_bad_bundles_are_refused_each_time(
    tmp_path: Path,
) -> None:
    good = [bundle_named(name, tmp_path) for name in ("first", "second")]
    bad = [bad_bundle(kind, tmp_path) for kind in BAD]
    with swapping(tmp_path, good[0][0]) as (swapper, address, _), Callers(address) as callers:
        for place in range(SWAPS):
            assert swapper.refused(bad[place % len(bad)])
            assert swapper.swapped(*good[(place + 1) % 2])
    assert callers.failed == []
    assert callers.answered > SWAPS
    assert callers.versions == {version for _, version in good}
    assert list(tmp_path.glob("*/unpickled")) == []
    refused = [entry for entry in events(tmp_path / "log") if entry["event"] == "bundle_refused"]
    assert len(refused) == SWAPS
    assert {entry["reason"] for entry in refused} == {
        "HASH_MISMATCH", "BUNDLE_DAMAGED", "ENCODER_MISSING", "ARMS_MISSING",
    }  # fmt: skip
    assert all(entry["serving"] and entry["detail"] for entry in refused)


def test_a_directory_is_looked_at_again_and_again_without_a_signal(tmp_path: Path) -> None:
    served, _ = bundle_named("served", tmp_path)
    other, version = bundle_named("other", tmp_path)
    log = tmp_path / "log"
    with (
        log.open("w") as out,
        serving(
            "--bundle", str(served), "--reload-every-s", "0.1", "--log-level", "info", log=out
        ) as (address, _),
        Router(address, timeout_s=PATIENCE_S) as client,
    ):
        first = client.route("hello").bundle
        shutil.copy(other / "manifest.json", served / "manifest.json")
        wait_until(lambda: client.route("hello").bundle == version)
        shutil.rmtree(served)
        wait_until(lambda: "bundle_refused" in log.read_text())
        assert client.route("hello").bundle == version
    swapped = [entry for entry in events(log) if entry["event"] == "bundle_swapped"]
    assert [(entry["before"], entry["bundle"]) for entry in swapped] == [(first, version)]
    gone = [entry for entry in events(log) if entry["event"] == "bundle_refused"]
    assert [entry["reason"] for entry in gone] == ["BUNDLE_MISSING"]  # said once, not ten times


@pytest.mark.parametrize("kind", ["cut short", "half a manifest", "pickled", "unknown encoder"])
def test_a_bad_bundle_keeps_a_server_from_starting_in_one_line(kind: str, tmp_path: Path) -> None:
    bundle = bad_bundle(kind, tmp_path)
    started = subprocess.run(
        [sys.executable, "-m", "router", "serve", "--bundle", str(bundle), "--port", "0",
         "--ledger", "memory:"],
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert (started.returncode, started.stdout) == (2, "")
    assert started.stderr.startswith("error: ")
    assert started.stderr.count("\n") == 1
    assert not (bundle / "unpickled").exists()
