"""The registry client against a hostile server, and the addresses that it accepts."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from router.classifier import mlflow_server
from router.classifier import registry as module
from router.classifier.mlflow_server import ServerRegistry
from router.classifier.registry import SIGNATURE_TAG, RegisteredVersion, RegistryAddress
from router.core.errors import BadArtifact, InvalidInput, MitsumoriError, Unavailable
from router.files import sha256_of
from router.settings_sources import load_settings

CHAMPION = RegistryAddress("m", "champion", None)
FIRST = RegisteredVersion("m", 1, 5, None)
FOLDER = "/api/2.0/mlflow-artifacts/artifacts/1/run/artifacts/bundle"

Answer = tuple[int, dict[str, str], bytes]


class Harmful:
    """Answers each path as it is told to; everything else is not there."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.headers: list[str | None] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                outer.asked.append(self.path)
                outer.headers.append(self.headers["Authorization"])
                status, headers, body = outer.answers.get(path, (404, {}, b"{}"))
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def says(self, path: str, body: Any, status: int = 200, **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers[path] = (status, named, content)

    def lies_at(self, uri: str) -> None:
        self.says("/api/2.0/mlflow/model-versions/get-download-uri", {"artifact_uri": uri})

    def holds(self, files: dict[str, bytes], hashes: dict[str, str] | None = None) -> None:
        """A bundle of these files; with hashes other than theirs where given."""
        named = hashes or {name: sha256_of(content) for name, content in files.items()}
        self.lies_at("mlflow-artifacts:/1/run/artifacts/bundle")
        self.says(f"{FOLDER}/manifest.json", {"files": named})
        for name, content in files.items():
            self.says(f"{FOLDER}/{name}", content)


@pytest.fixture
def server() -> Iterator[Harmful]:
    made = Harmful()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@pytest.fixture
def registry(server: Harmful) -> Iterator[ServerRegistry]:
    made = ServerRegistry(server.address)
    yield made
    made.close()


def test_what_is_named_is_what_lands(
    server: Harmful, registry: ServerRegistry, tmp_path: Path
) -> None:
    server.holds({"classifier.onnx": b"graph", "model_card.md": b"# card"})
    registry.download(FIRST, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "manifest.json": server.answers[f"{FOLDER}/manifest.json"][2],
        "classifier.onnx": b"graph",
        "model_card.md": b"# card",
    }


@pytest.mark.parametrize(
    "name", ["../evil", "a/b", "/etc/passwd", ".hidden", "manifest.json", "model.sig", "a\0b"]
)
def test_a_name_that_leaves_the_folder_is_refused(
    name: str, server: Harmful, registry: ServerRegistry, tmp_path: Path
) -> None:
    server.holds({}, {name: "0" * 64})
    (tmp_path / "target").mkdir()
    with pytest.raises(BadArtifact, match="which no bundle has"):
        registry.download(FIRST, tmp_path / "target")
    assert [path.name for path in tmp_path.rglob("*")] == ["target", "manifest.json"]


@pytest.mark.parametrize(
    "uri",
    [
        "file:///etc", "s3://bucket/bundle", "/etc", "mlflow-artifacts:/1/../../secret",
        "mlflow-artifacts://elsewhere.example/1/run/artifacts/bundle", "mlflow-artifacts:/",
    ],
)  # fmt: skip
def test_artifacts_elsewhere_are_not_fetched(
    uri: str, server: Harmful, registry: ServerRegistry, tmp_path: Path
) -> None:
    server.lies_at(uri)
    with pytest.raises(BadArtifact, match="--serve-artifacts"):
        registry.download(FIRST, tmp_path)
    assert len(server.asked) == 1


def test_a_redirect_is_not_followed(
    server: Harmful, registry: ServerRegistry, tmp_path: Path
) -> None:
    server.holds({"classifier.onnx": b"graph"})
    server.says(f"{FOLDER}/classifier.onnx", b"", 302, Location="/api/2.0/stolen")
    server.says("/api/2.0/stolen", b"graph")
    with pytest.raises(Unavailable, match="redirects, which is not followed"):
        registry.download(FIRST, tmp_path)
    assert "/api/2.0/stolen" not in server.asked


def test_a_flood_is_cut_off(
    server: Harmful, registry: ServerRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BUNDLE_BYTES", 1 << 20)
    content = b"x" * (3 << 20)
    server.holds({"classifier.onnx": content})
    with pytest.raises(BadArtifact, match="more than 1 MiB"):
        registry.download(FIRST, tmp_path)
    assert (tmp_path / "classifier.onnx").stat().st_size <= 1 << 20


def test_a_server_that_sends_its_headers_letter_by_letter_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Every letter begins the client's own timeouts anew, so that they never end the wait.
    monkeypatch.setattr(mlflow_server, "_READ_S", 0.2)
    monkeypatch.setattr(mlflow_server, "_GRACE_S", 0.05)
    gone = threading.Event()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def trickle() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                while not gone.wait(0.02):
                    connection.sendall(b"x")

        server = threading.Thread(target=trickle)
        server.start()
        registry = ServerRegistry(f"http://127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(Unavailable, match="takes too long"):
            registry.find(CHAMPION)
        gone.set()
        server.join()


def test_an_answer_that_is_nested_without_end_is_not_understood(
    server: Harmful, registry: ServerRegistry
) -> None:
    server.says("/api/2.0/mlflow/registered-models/alias", b"[" * 100_000)
    with pytest.raises(Unavailable, match="answers that MLflow"):
        registry.find(CHAMPION)


def test_a_manifest_of_thousands_of_files_is_refused(
    server: Harmful, registry: ServerRegistry, tmp_path: Path
) -> None:
    server.holds({}, {f"f{number}": "0" * 64 for number in range(2000)})
    with pytest.raises(BadArtifact, match="more than 64 files"):
        registry.download(FIRST, tmp_path)


def test_an_answer_that_stops_in_the_middle_may_be_asked_for_again(
    server: Harmful, registry: ServerRegistry, tmp_path: Path
) -> None:
    server.holds({"classifier.onnx": b"graph"})
    server.says(f"{FOLDER}/classifier.onnx", b"gra", Content_Length="5")
    with pytest.raises(Unavailable, match="does not answer"):
        registry.download(FIRST, tmp_path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda server: server.says(f"{FOLDER}/classifier.onnx", b"other"),
        lambda server: server.says(f"{FOLDER}/classifier.onnx", b"", 404),
        lambda server: server.says(f"{FOLDER}/manifest.json", b"[" * 100_000),
        lambda server: server.says(f"{FOLDER}/manifest.json", {"files": ["classifier.onnx"]}),
    ],
    ids=["altered", "missing", "nested", "list"],
)
def test_what_is_not_what_was_registered_is_refused(
    spoil: Callable[[Harmful], None], server: Harmful, registry: ServerRegistry, tmp_path: Path
) -> None:
    server.holds({"classifier.onnx": b"graph"})
    spoil(server)
    with pytest.raises(BadArtifact):
        registry.download(FIRST, tmp_path)


def test_a_manifest_other_than_the_registered_one_is_refused(
    server: Harmful, registry: ServerRegistry, tmp_path: Path
) -> None:
    server.holds({"classifier.onnx": b"graph"})
    with pytest.raises(BadArtifact, match=r"manifest\.json was altered"):
        registry.download(RegisteredVersion("m", 1, 5, "0" * 64), tmp_path)
    assert not (tmp_path / "classifier.onnx").exists()


def test_a_signed_version_brings_its_signature_and_no_other(
    server: Harmful, registry: ServerRegistry, tmp_path: Path
) -> None:
    server.holds({"classifier.onnx": b"graph"})
    server.says(f"{FOLDER}/model.sig", b"signature")
    tags = [{"key": SIGNATURE_TAG, "value": sha256_of(b"signature")}]
    found = {"model_version": {"version": "1", "creation_timestamp": 5, "tags": tags}}
    server.says("/api/2.0/mlflow/registered-models/alias", found)
    signed = registry.find(CHAMPION)
    assert signed == RegisteredVersion("m", 1, 5, None, sha256_of(b"signature"))
    registry.download(signed, tmp_path)
    assert (tmp_path / "model.sig").read_bytes() == b"signature"
    server.says(f"{FOLDER}/model.sig", b"of another")
    with pytest.raises(BadArtifact, match=r"model\.sig was altered or damaged since"):
        registry.download(signed, tmp_path)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (404, {}, BadArtifact), (400, {}, BadArtifact), (500, {}, Unavailable),
        (401, {}, Unavailable), (200, b"<html>", Unavailable), (200, [], Unavailable),
        (200, {"model_version": {"version": "../1"}}, Unavailable),
        (200, {"model_version": {"version": "1", "tags": 3}}, Unavailable),
    ],
)  # fmt: skip
def test_every_answer_is_either_a_version_or_one_clear_error(
    status: int, body: Any, kind: type[MitsumoriError], server: Harmful, registry: ServerRegistry
) -> None:
    server.says("/api/2.0/mlflow/registered-models/alias", body, status)
    with pytest.raises(kind) as caught:
        registry.find(CHAMPION)
    assert server.address in caught.value.message
    assert "\n" not in caught.value.message


def test_credentials_are_sent_and_never_stand_in_the_address(
    server: Harmful, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"model_version": {"version": "3", "creation_timestamp": 5}}
    server.says("/api/2.0/mlflow/registered-models/alias", found)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret-4711")
    registry = ServerRegistry(server.address)
    assert registry.find(CHAMPION) == RegisteredVersion("m", 3, 5, None)
    registry.close()
    assert server.headers == ["Bearer secret-4711"]
    for address in ("http://user:secret-4711@host", "ftp://host", "sqlite:///x", "host:5000"):
        with pytest.raises(InvalidInput) as caught:
            ServerRegistry(address)
        assert "secret-4711" not in caught.value.message


@pytest.mark.parametrize(
    "text",
    ["models:/", "models:/m", "models:/m/latest", "models:/m/0", "models:/../x@y", "models:/m@",
     "models:/m@a/b", "models:/m@a/1"],
)  # fmt: skip
def test_an_address_of_another_form_is_refused_by_the_settings(text: str) -> None:
    with pytest.raises(InvalidInput, match="models:/mitsumori@champion"):
        load_settings(bundle=text)


def test_an_address_needs_a_registry_and_takes_mlflows_own_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)  # a checkout that has trained has a store of its own
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(InvalidInput, match=r"setting registry: .* needs the address"):
        load_settings(bundle="models:/m@champion")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    settings = load_settings(bundle="models:/m@champion")
    assert (settings.bundle, settings.registry) == (CHAMPION, "http://127.0.0.1:5000")
    assert load_settings(bundle="some/folder").bundle == Path("some/folder")
