"""The registry of stores on this machine, as a real MLflow writes them; and what is none."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from router.classifier import mlflow_store, registry
from router.classifier.hot_swap import open_bundle_source
from router.classifier.mlflow_store import StoreRegistry
from router.classifier.registry import RegistryAddress, registry_address
from router.core.errors import BadArtifact, InvalidInput, MitsumoriError, Unavailable
from router.files import sha256_of
from router.settings_sources import load_settings

CHAMPION = RegistryAddress("m", "champion", None)


def version(number: int) -> RegistryAddress:
    return RegistryAddress("m", None, number)


class Store:
    """A store with the registered model ``m``."""

    def __init__(self, folder: Path, uri: str) -> None:
        self.folder, self.uri = folder, uri
        self.client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        self.client.create_registered_model("m")

    def bundle(self, name: str, **files: bytes) -> Path:
        target = self.folder / name
        target.mkdir()
        contents = {f"{stem}.onnx": content for stem, content in files.items()}
        for file, content in contents.items():
            (target / file).write_bytes(content)
        hashes = {file: sha256_of(content) for file, content in contents.items()}
        (target / "manifest.json").write_text(json.dumps({"files": hashes}))
        return target

    def register(self, directory: Path, source: str | None = None) -> int:
        sealed = {registry.MANIFEST_TAG: sha256_of((directory / "manifest.json").read_bytes())}
        made = self.client.create_model_version("m", source or directory.as_uri(), tags=sealed)
        return int(made.version)

    def crown(self, number: int) -> None:
        self.client.set_registered_model_alias("m", "champion", str(number))


@pytest.fixture(params=["sqlite", "file"])
def store(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    mlflow_database: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Store:
    # MLflow's client makes its default store where the process runs.
    monkeypatch.chdir(tmp_path)
    if request.param == "sqlite":
        shutil.copy(mlflow_database, tmp_path / "mlflow.db")
        return Store(tmp_path, f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return Store(tmp_path, f"file:{tmp_path}/mlruns")


def test_an_alias_is_followed_to_the_version_that_it_names_now(
    store: Store, tmp_path: Path
) -> None:
    first, second = store.bundle("first", classifier=b"1"), store.bundle("second", classifier=b"2")
    one, two = store.register(first), store.register(second)
    found = StoreRegistry(store.uri)
    store.crown(one)
    assert found.find(CHAMPION).number == one
    store.crown(two)
    assert found.find(CHAMPION) == found.find(version(two))
    (tmp_path / "target").mkdir()
    found.download(found.find(CHAMPION), tmp_path / "target")
    assert {path.name: path.read_bytes() for path in (tmp_path / "target").iterdir()} == {
        path.name: path.read_bytes() for path in second.iterdir()
    }


def test_a_signed_version_brings_its_signature_and_no_other(store: Store, tmp_path: Path) -> None:
    bundle = store.bundle("first", classifier=b"1")
    (bundle / "model.sig").write_bytes(b"signature")
    number = store.register(bundle)
    found = StoreRegistry(store.uri)
    assert found.find(version(number)).signature_sha256 is None
    tag = sha256_of(b"signature")
    store.client.set_model_version_tag("m", str(number), registry.SIGNATURE_TAG, tag)
    signed = found.find(version(number))
    assert signed.signature_sha256 == tag
    (tmp_path / "target").mkdir()
    found.download(signed, tmp_path / "target")
    assert (tmp_path / "target" / "model.sig").read_bytes() == b"signature"
    (bundle / "model.sig").write_bytes(b"of another")
    with pytest.raises(BadArtifact, match=r"model\.sig was altered or damaged since"):
        found.download(signed, tmp_path / "target")


def test_what_is_not_registered_is_named(store: Store) -> None:
    store.register(store.bundle("first", classifier=b"1"))
    deleted = store.register(store.bundle("second", classifier=b"2"))
    store.client.delete_model_version("m", str(deleted))
    for address in (CHAMPION, version(deleted), version(99), RegistryAddress("other", "x", None)):
        with pytest.raises(BadArtifact, match="name a registered version or an alias") as caught:
            StoreRegistry(store.uri).find(address)
        assert str(address) in caught.value.message


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda bundle: (bundle / "classifier.onnx").write_bytes(b"other"), "was altered"),
        (lambda bundle: (bundle / "manifest.json").write_text("{}"), "manifest.json was altered"),
        (lambda bundle: (bundle / "classifier.onnx").unlink(), "is not there"),
        (lambda bundle: shutil.rmtree(bundle), "is not there"),
        (
            lambda bundle: (
                (bundle / "classifier.onnx").unlink(),
                os.mkfifo(bundle / "classifier.onnx"),
            ),
            "is not there",
        ),
    ],
    ids=["altered", "another manifest", "missing", "no folder", "a pipe"],
)
def test_files_that_are_not_those_that_were_registered_are_refused(
    spoil: Callable[[Path], object], message: str, store: Store, tmp_path: Path
) -> None:
    bundle = store.bundle("first", classifier=b"1")
    number = store.register(bundle)
    spoil(bundle)
    found = StoreRegistry(store.uri)
    (tmp_path / "target").mkdir()
    with pytest.raises(BadArtifact, match=message) as caught:
        found.download(found.find(version(number)), tmp_path / "target")
    assert f"models:/m/{number}" in caught.value.message


def test_a_file_too_large_for_a_bundle_is_not_copied(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "MAX_BUNDLE_BYTES", 1 << 20)
    number = store.register(store.bundle("first", classifier=b"x" * ((1 << 20) + 1)))
    found = StoreRegistry(store.uri)
    (tmp_path / "target").mkdir()
    with pytest.raises(BadArtifact, match="larger than 1 MiB"):
        found.download(found.find(version(number)), tmp_path / "target")
    assert not (tmp_path / "target" / "classifier.onnx").exists()


def test_files_that_a_server_keeps_need_that_server(tmp_path: Path, store: Store) -> None:
    bundle = store.bundle("first", classifier=b"1")
    for source in ("s3://somewhere/bundle", "mlflow-artifacts:/1/run/artifacts/bundle"):
        found = StoreRegistry(store.uri)
        number = store.register(bundle, source)
        with pytest.raises(BadArtifact, match="name the MLflow server"):
            found.download(found.find(version(number)), tmp_path)


# --- What is no such store ---------------------------------------------------------------------


def one_line(error: pytest.ExceptionInfo[MitsumoriError]) -> str:
    assert "\n" not in error.value.message
    return error.value.message


def test_a_store_that_is_not_there_may_come_back(tmp_path: Path) -> None:
    for uri in (f"sqlite:///{tmp_path}/none.db", f"file:{tmp_path}/none"):
        with pytest.raises(Unavailable, match="make train") as caught:
            StoreRegistry(uri).find(CHAMPION)
        assert uri in one_line(caught)


@pytest.mark.parametrize(
    "change",
    ["DROP TABLE registered_model_aliases", "ALTER TABLE model_versions DROP COLUMN source", None],
    ids=["no aliases", "no source", "no database"],
)
def test_a_store_of_another_kind_is_one_clear_line(
    change: str | None, tmp_path: Path, mlflow_database: Path
) -> None:
    database = shutil.copy(mlflow_database, tmp_path / "mlflow.db")
    if change is None:
        database.write_bytes(b"no database at all, whatever its name says" * 100)
    else:
        with closing(sqlite3.connect(database)) as connection:
            connection.execute(change)
            connection.commit()
    with pytest.raises(BadArtifact, match="not in a form that this release reads") as caught:
        StoreRegistry(f"sqlite:///{database}").find(CHAMPION)
    assert "mlflow server --serve-artifacts" in one_line(caught)


def test_a_file_store_with_a_damaged_version_is_one_clear_line(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "m" / "version-1"
    folder.mkdir(parents=True)
    for content in ("]", "words", "source: 3\ncurrent_stage: None\ncreation_timestamp: 1"):
        (folder / "meta.yaml").write_text(content)
        with pytest.raises(BadArtifact, match="not in a form") as caught:
            StoreRegistry(f"file:{tmp_path}").find(version(1))
        one_line(caught)


def test_a_store_that_somebody_writes_for_long_is_asked_again(
    tmp_path: Path, mlflow_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_store, "_BUSY_S", 0.0)
    database = shutil.copy(mlflow_database, tmp_path / "mlflow.db")
    with closing(sqlite3.connect(database)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Unavailable, match="locked"):
            StoreRegistry(f"sqlite:///{database}").find(CHAMPION)


# --- Addresses ---------------------------------------------------------------------------------


def test_addresses_of_stores_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert registry_address("sqlite:///a/b.db") == f"sqlite:///{tmp_path}/a/b.db"
    assert registry_address("sqlite:////x/b.db") == "sqlite:////x/b.db"
    assert registry_address("file:mlruns") == f"file:{tmp_path}/mlruns"
    assert registry_address("file:///x/y%20z") == "file:/x/y z"
    assert registry_address("http://host:5000/") == "http://host:5000"


@pytest.mark.parametrize(
    "text",
    ["sqlite:///", "sqlite://x", "postgresql://host/db", "file:", "file://host/x", "mlruns",
     "sqlite:////x.db?mode=rwc", "databricks"],
)  # fmt: skip
def test_an_address_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="sqlite:///PATH or file:PATH"):
        StoreRegistry(text)
    with pytest.raises(InvalidInput):
        open_bundle_source(CHAMPION, text, Path("cache"))


def test_a_checkout_that_has_trained_serves_from_its_own_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(InvalidInput, match=r"there is no build/mlflow/mlflow\.db here"):
        load_settings(bundle="models:/m@champion")
    registry.DEFAULT_STORE.parent.mkdir(parents=True)
    registry.DEFAULT_STORE.touch()
    assert load_settings(bundle="models:/m@champion").registry == "sqlite:///build/mlflow/mlflow.db"
    assert load_settings(bundle="some/folder").registry == ""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert load_settings(bundle="models:/m@champion").registry == "http://127.0.0.1:5000"
