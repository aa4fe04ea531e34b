"""The registry of an MLflow server over its REST API.

The client asks which version an address names and where its artifacts are, and downloads them through the
server's artifact proxy. It does not trust the server: sizes and times are bounded, and redirects are refused.

Source: https://mlflow.org/docs/latest/api_reference/rest-api.html (2.0: registered-models/alias,
model-versions/get, model-versions/get-download-uri, mlflow-artifacts/artifacts).
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import quote, urlsplit

from router.classifier.registry import (
    MANIFEST_TAG,
    SCHEME,
    SIGNATURE_TAG,
    RegisteredVersion,
    RegistryAddress,
    copy_bundle,
    registry_address,
)
from router.core.errors import BadArtifact, InvalidInput, MitsumoriError, Unavailable

__all__ = ["ServerRegistry"]

_API = "/api/2.0/mlflow"
_ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
_PROXIED = "mlflow-artifacts"

_CONNECT_S = 5.0
_READ_S = 15.0
_DOWNLOAD_S = 300.0
"""Seconds for all files of a bundle together, so that a trickling server cannot block the caller forever."""
_GRACE_S = 0.5
"""Seconds after a deadline in which the thread that asks may say so itself."""
_MAX_ANSWER_BYTES = 1 << 20


class ServerRegistry:
    """The registry of a tracking server. Use from one thread at a time.

    Credentials are read from the environment as by MLflow's own client: ``MLFLOW_TRACKING_TOKEN``, else
    ``MLFLOW_TRACKING_USERNAME`` and ``MLFLOW_TRACKING_PASSWORD``.

    Args:
        address: ``http://…`` or ``https://…`` of the tracking server.

    Raises:
        InvalidInput: the address has another form.
        MitsumoriError: the extra is not installed.
    """

    def __init__(self, address: str) -> None:
        try:
            import httpx
        except ImportError:
            raise MitsumoriError(
                "bundles from an MLflow server need httpx: `pip install 'mitsumori[registry]'`",
                reason="EXTRA_MISSING",
                field="registry",
            ) from None
        self._httpx = httpx
        self.address = registry_address(address)
        if not self.address.startswith("http"):
            raise InvalidInput(f"registry: {self.address} is no MLflow server", field="registry")
        self._origin = urlsplit(self.address).netloc.lower()
        headers = {"Accept-Encoding": "identity"}
        token = os.environ.get("MLFLOW_TRACKING_TOKEN")
        user = os.environ.get("MLFLOW_TRACKING_USERNAME")
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._client = httpx.Client(
            headers=headers,
            auth=(user, os.environ.get("MLFLOW_TRACKING_PASSWORD", ""))
            if user and not token
            else None,
            timeout=httpx.Timeout(_READ_S, connect=_CONNECT_S),
            follow_redirects=False,
        )

    def find(self, address: RegistryAddress) -> RegisteredVersion:
        """The version that an address names now.

        Raises:
            BadArtifact: there is no such version.
            Unavailable: the registry does not answer.
        """
        if address.alias is not None:
            path, rest = "registered-models/alias", {"alias": address.alias}
        else:
            path, rest = "model-versions/get", {"version": str(address.version)}
        answer = self._query(path, {"name": address.name, **rest}, str(address))
        try:
            found = answer["model_version"]
            tags = {tag["key"]: tag.get("value", "") for tag in found.get("tags", ())}
            return RegisteredVersion(
                address.name,
                int(found["version"]),
                int(found.get("creation_timestamp", 0)),
                tags.get(MANIFEST_TAG),
                tags.get(SIGNATURE_TAG),
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            raise self._unexpected_answer() from None

    def download(self, version: RegisteredVersion, target: Path) -> None:
        """Download the files of a version into a folder, each checked against its hash in the manifest.

        Args:
            version: from :meth:`find`.
            target: an empty folder.

        Raises:
            BadArtifact: a file is missing, too large or altered, or the server does not serve
                artifacts.
            Unavailable: the registry does not answer, or the download breaks off.
        """
        what = f"{SCHEME}{version.name}/{version.number}"
        folder = self._folder(version, what)
        deadline = time.monotonic() + _DOWNLOAD_S

        def copy(path: Path, max_bytes: int) -> str:
            return self._download_file(folder, path, max_bytes, deadline, what)

        copy_bundle(copy, version, target)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _folder(self, version: RegisteredVersion, what: str) -> str:
        """The path of a version's artifacts on the server's artifact proxy."""
        answer = self._query(
            "model-versions/get-download-uri",
            {"name": version.name, "version": str(version.number)},
            what,
        )
        uri = answer.get("artifact_uri")
        if not isinstance(uri, str):
            raise self._unexpected_answer()
        parts = urlsplit(uri)
        path = [part for part in parts.path.split("/") if part]
        # Only the configured server is contacted: whoever registers a version must not choose another.
        elsewhere = parts.netloc.lower() not in ("", self._origin)
        if parts.scheme != _PROXIED or elsewhere or not path or {"..", "."} & set(path):
            raise BadArtifact(
                f"{what}: {self.address} does not serve its artifacts; start the server with "
                "`mlflow server --serve-artifacts` and register the bundle through it",
                reason="ARTIFACTS_NOT_SERVED",
                field="registry",
            )
        return "/".join(quote(part, safe="") for part in path)

    def _query(self, path: str, query: Mapping[str, str], what: str) -> dict[str, Any]:
        deadline = time.monotonic() + _READ_S
        status, content = self._read(f"{_API}/{path}", query, _MAX_ANSWER_BYTES, deadline)
        if status in (400, 404):
            raise BadArtifact(
                f"{self.address} has no {what}; name a registered version or an alias",
                reason="BUNDLE_MISSING",
                field="bundle",
            )
        self._check(status)
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise self._unexpected_answer()
        return answer

    def _download_file(
        self, folder: str, target: Path, max_bytes: int, deadline: float, what: str
    ) -> str:
        """Download one file and return its SHA-256."""
        path = f"{_ARTIFACTS}/{folder}/{quote(target.name, safe='')}"
        digest = hashlib.sha256()
        with target.open("wb") as file:

            def write(part: bytes) -> None:
                digest.update(part)
                file.write(part)

            status = self._stream(path, {}, max_bytes, deadline, write)
        if status in (400, 404):
            raise BadArtifact(
                f"{what}: {target.name} is not there; register the bundle again",
                reason="FILE_MISSING",
                field=target.name,
            )
        self._check(status)
        return digest.hexdigest()

    def _read(
        self, path: str, query: Mapping[str, str], max_bytes: int, deadline: float
    ) -> tuple[int, bytes]:
        content = bytearray()
        status = self._stream(path, query, max_bytes, deadline, content.extend)
        return status, bytes(content)

    def _stream(
        self,
        path: str,
        query: Mapping[str, str],
        max_bytes: int,
        deadline: float,
        write: Callable[[bytes], object],
    ) -> int:
        """Stream an answer of at most ``max_bytes`` until ``deadline`` and return its HTTP status."""
        # The client's own timeouts begin anew with every byte, so a thread may wait longer than its caller.
        answers: SimpleQueue[int | Exception] = SimpleQueue()

        def ask() -> None:
            try:
                answers.put(self._receive(path, query, max_bytes, deadline, write))
            except Exception as error:  # noqa: BLE001 — the caller raises it
                answers.put(error)

        threading.Thread(target=ask, name="registry", daemon=True).start()
        try:
            answer = answers.get(timeout=max(deadline - time.monotonic(), 0.0) + _GRACE_S)
        except Empty:
            raise self._unavailable("takes too long") from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _receive(
        self,
        path: str,
        query: Mapping[str, str],
        max_bytes: int,
        deadline: float,
        write: Callable[[bytes], object],
    ) -> int:
        received = 0
        try:
            with self._client.stream("GET", f"{self.address}{path}", params=query) as answer:
                for part in answer.iter_raw():
                    received += len(part)
                    if received > max_bytes:
                        raise BadArtifact(
                            f"{self.address} sends more than {max_bytes >> 20} MiB for {path}; "
                            "a bundle is small: register it again",
                            reason="TOO_LARGE",
                            field="registry",
                        )
                    if time.monotonic() > deadline:
                        raise self._unavailable("takes too long")
                    write(part)
                return answer.status_code
        except self._httpx.HTTPError as error:
            raise self._unavailable(f"does not answer ({type(error).__name__})") from None

    def _check(self, status: int) -> None:
        if 300 <= status < 400:
            raise self._unavailable(
                "redirects, which is not followed; set registry to the final address"
            )
        if status in (401, 403):
            raise self._unavailable(
                "denies access; set MLFLOW_TRACKING_TOKEN, or _USERNAME and _PASSWORD"
            )
        if status != 200:
            raise self._unavailable(f"answers with status {status}")

    def _unavailable(self, why: str) -> Unavailable:
        return Unavailable(
            f"the registry {self.address} {why}; check registry and the MLflow server",
            reason="REGISTRY_UNAVAILABLE",
            field="registry",
        )

    def _unexpected_answer(self) -> Unavailable:
        return self._unavailable("gives answers that MLflow's REST API does not")
