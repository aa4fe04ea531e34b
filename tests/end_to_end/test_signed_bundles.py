"""A server that asks for signatures: what it starts on, what it swaps to, and how keys rotate."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from benchmarks.swaps import bundle_named
from mitsumori import Router
from router.classifier.registry import DEFAULT_STORE, SIGNATURE_TAG
from router.classifier.signature import SIGNATURE
from router.cli.demo import serving
from router.files import sha256_of
from tests.readiness import PATIENCE_S, wait_until
from tests.signing_keys import SigningKey
from training.artifacts.bundle_signature import sign_bundle
from training.tracking.promotion import CHAMPION, ChampionAlias
from training.tracking.runs import start_run
from training.tracking.store import MODEL


def events(log: Path, kind: str) -> list[dict[str, str]]:
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line["event"] == kind]


def mitsumori(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "router", *words],
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip


def test_a_server_starts_on_a_signed_bundle_alone_and_the_doctor_agrees(tmp_path: Path) -> None:
    key = SigningKey(tmp_path, "ours")
    bundle, version = bundle_named("served", tmp_path)
    flags = ["--bundle", str(bundle), "--bundle-public-keys", str(key.public), "--port", "0"]
    refused = mitsumori("serve", *flags, "--ledger", "memory:")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == (
        f"error: {bundle} is not signed (model.sig is missing), and bundle_public_keys asks for a signature; "
        "sign it with `python -m training sign`\n"
    )
    seen = mitsumori("doctor", *flags, "--json")
    checks = {check["check"]: check for check in json.loads(seen.stdout)}
    assert not checks["bundle"]["ok"]
    assert "is not signed" in checks["bundle"]["detail"]
    sign_bundle(bundle, key.private)
    seen = mitsumori("doctor", *flags, "--json")
    checks = {check["check"]: check for check in json.loads(seen.stdout)}
    assert checks["bundle"]["detail"].endswith("and encoder intact, signature valid")
    with serving(*flags) as (address, _), Router(address, timeout_s=PATIENCE_S) as client:
        assert client.route("hello").bundle == version


def test_a_running_server_swaps_to_signed_bundles_alone_and_keys_rotate(tmp_path: Path) -> None:
    old, new = SigningKey(tmp_path, "old"), SigningKey(tmp_path, "new")
    keys, link, log = tmp_path / "keys.pem", tmp_path / "link", tmp_path / "log"
    keys.write_bytes(old.public.read_bytes())
    first, at_first = bundle_named("first", tmp_path)
    unsigned, _ = bundle_named("unsigned", tmp_path)
    second, at_second = bundle_named("second", tmp_path)
    foreign, _ = bundle_named("foreign", tmp_path)
    sign_bundle(first, old.private)
    sign_bundle(second, new.private)
    shutil.copy(first / SIGNATURE, foreign)

    def point(bundle: Path) -> None:
        link.with_suffix(".new").symlink_to(bundle, target_is_directory=True)
        link.with_suffix(".new").replace(link)

    point(first)
    flags = ["--bundle", str(link), "--bundle-public-keys", str(keys), "--reload-every-s", "0"]
    with (
        log.open("w") as out,
        serving(*flags, log=out) as (address, process),
        Router(address, timeout_s=PATIENCE_S) as client,
    ):
        assert client.route("hello").bundle == at_first
        for count, bad in enumerate((unsigned, foreign, second), start=1):
            point(bad)
            process.send_signal(signal.SIGHUP)
            wait_until(lambda count=count: len(events(log, "bundle_refused")) == count)  # type: ignore[misc]
            assert client.route("hello").bundle == at_first
        # The next key is added: what it signed is taken at the next signal, without a restart.
        keys.write_text(old.public.read_text() + new.public.read_text())
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: client.route("hello").bundle == at_second)
    refused = events(log, "bundle_refused")
    assert [entry["reason"] for entry in refused] == [
        "SIGNATURE_MISSING", "SIGNATURE_MISMATCH", "SIGNER_UNKNOWN",
    ]  # fmt: skip
    assert {entry["serving"] for entry in refused} == {at_first}


def test_a_registered_bundle_that_is_signed_anew_is_served_again_without_a_new_version(
    tmp_path: Path, mlflow_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a key has leaked: the same champion, signed by the next key."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MITSUMORI_REGISTRY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    DEFAULT_STORE.parent.mkdir(parents=True)
    shutil.copy(mlflow_database, DEFAULT_STORE)
    # In full: MLflow keeps connections by address, and a relative one is another file in each test.
    store = f"sqlite:///{tmp_path / DEFAULT_STORE}"
    old, new = SigningKey(tmp_path, "old"), SigningKey(tmp_path, "new")
    bundle, version = bundle_named("champion", tmp_path)
    sign_bundle(bundle, old.private)
    with start_run(store, name="champion", tags={}) as run:
        run.log_bundle(bundle)
        number = run.register()
    alias = ChampionAlias(store)
    alias.promote(number, None, {})
    registered = f"models:/{MODEL}@{CHAMPION}"
    flags = ["--bundle", registered, "--reload-every-s", "0", "--bundle-public-keys"]

    def bundle_of_a_server(key: SigningKey) -> str:
        with (
            serving(*flags, str(key.public)) as (address, _),
            Router(address, timeout_s=PATIENCE_S) as client,
        ):
            return client.route("hello").bundle

    assert bundle_of_a_server(old) == version
    assert not alias.renew_signature(number, bundle)  # nothing is new
    sign_bundle(bundle, new.private)
    refused = mitsumori("serve", *flags, str(new.public), "--port", "0", "--ledger", "memory:")
    assert refused.returncode == 2
    assert "model.sig is by the key " in refused.stderr
    assert alias.renew_signature(number, bundle)
    client = MlflowClient(tracking_uri=store, registry_uri=store)
    tags = client.get_model_version(MODEL, str(number)).tags
    assert tags[SIGNATURE_TAG] == sha256_of((bundle / SIGNATURE).read_bytes())
    assert bundle_of_a_server(new) == version
