"""Bundles from MLflow's registry, over its REST API: serving installs no MLflow.

An address is ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``. Two questions are asked: which version an
address means, and where its artifacts lie; then ``manifest.json`` is fetched through the server's artifact
proxy, and the files that it names, each checked against its hash while it arrives. What the server says is
not trusted: sizes and times are bounded, redirects are not followed, names cannot leave the folder.

Source: https://mlflow.org/docs/latest/api_reference/rest-api.html (2.0: registered-models/alias,
model-versions/get, model-versions/get-download-uri, mlflow-artifacts/artifacts).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from router.core.errors import BadArtifact, InvalidInput, MitsumoriError, Unavailable

__all__ = ["MANIFEST_TAG", "Registry", "RegistryAddress", "Version", "is_registry_address"]

SCHEME = "models:/"
MANIFEST_TAG = "manifest_sha256"
"""Tag of a registered version: the SHA-256 of its ``manifest.json``, where training put one."""

_ADDRESS = re.compile(
    r"models:/(?P<name>[A-Za-z0-9][A-Za-z0-9_. -]{0,199})"
    r"(?:@(?P<alias>[A-Za-z0-9_-]{1,100})|/(?P<version>[1-9][0-9]{0,9}))"
)
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_API = "/api/2.0/mlflow"
_ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
_PROXIED = "mlflow-artifacts"

_CONNECT_S = 5.0
_READ_S = 15.0
_DOWNLOAD_S = 300.0
"""Seconds for all files of a bundle together, so that a trickle cannot hold the caller for good."""
_ANSWER_BYTES = 1 << 20
_MANIFEST_BYTES = 4 << 20
_BUNDLE_BYTES = 512 << 20
_FILES = 64


def is_registry_address(text: str) -> bool:
    """Whether a text names a bundle in the registry, rather than a directory."""
    return text.startswith(SCHEME)


@dataclass(frozen=True, slots=True)
class RegistryAddress:
    """Which bundle of the registry: the version that an alias names now, or one version for good."""

    name: str
    alias: str | None
    version: int | None

    @classmethod
    def parse(cls, text: str) -> RegistryAddress:
        """An address from ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``.

        Raises:
            InvalidInput: the text has another form.
        """
        found = _ADDRESS.fullmatch(text)
        if found is None:
            raise InvalidInput(
                "bundle: an address in the registry is models:/NAME@ALIAS or models:/NAME/VERSION, "
                "such as models:/mitsumori@champion",
                field="bundle",
            )
        version = found["version"]
        return cls(found["name"], found["alias"], int(version) if version else None)

    def __str__(self) -> str:
        end = f"/{self.version}" if self.alias is None else f"@{self.alias}"
        return f"{SCHEME}{self.name}{end}"


@dataclass(frozen=True, slots=True)
class Version:
    """A registered version.

    Attributes:
        name: of the registered model.
        number: from 1.
        created: milliseconds since 1970; tells a version from one of the same number that was deleted.
        manifest_sha256: what its manifest must hash to; ``None`` where training did not say.
    """

    name: str
    number: int
    created: int
    manifest_sha256: str | None


class Registry:
    """A tracking server's registry. One connection pool; use from one thread at a time.

    Credentials come from where MLflow's own client takes them: ``MLFLOW_TRACKING_TOKEN``, else
    ``MLFLOW_TRACKING_USERNAME`` and ``MLFLOW_TRACKING_PASSWORD``.

    Args:
        address: ``http://…`` or ``https://…`` of the tracking server.

    Raises:
        InvalidInput: another kind of address.
        MitsumoriError: the extra is not installed.
    """

    def __init__(self, address: str) -> None:
        try:
            import httpx
        except ImportError:
            raise MitsumoriError(
                "bundles from a registry need httpx: `pip install 'mitsumori[registry]'`",
                reason="EXTRA_MISSING",
                field="registry",
            ) from None
        self._httpx = httpx
        self.address = _checked_address(address)
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

    def find(self, address: RegistryAddress) -> Version:
        """The version that an address means now.

        Raises:
            BadArtifact: there is no such version.
            Unavailable: the registry does not answer.
        """
        if address.alias is not None:
            path, rest = "registered-models/alias", {"alias": address.alias}
        else:
            path, rest = "model-versions/get", {"version": str(address.version)}
        answer = self._asked(path, {"name": address.name, **rest}, str(address))
        try:
            found = answer["model_version"]
            tags = {tag["key"]: tag.get("value", "") for tag in found.get("tags", ())}
            return Version(
                address.name,
                int(found["version"]),
                int(found.get("creation_timestamp", 0)),
                tags.get(MANIFEST_TAG),
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            raise self._strange() from None

    def download(self, version: Version, target: Path) -> None:
        """Fetch the files of a version into a folder, each checked against the manifest's hash.

        Args:
            version: of :meth:`find`.
            target: an empty folder.

        Raises:
            BadArtifact: a file is missing, too large or altered, or the artifacts are not served.
            Unavailable: the registry does not answer, or stops in the middle.
        """
        what = f"{SCHEME}{version.name}/{version.number}"
        folder = self._folder(version, what)
        until = time.monotonic() + _DOWNLOAD_S
        manifest = target / "manifest.json"
        sha256 = self._fetched(folder, manifest, _MANIFEST_BYTES, until, what)
        if version.manifest_sha256 not in (None, sha256):
            raise _altered("manifest.json", what)
        left = _BUNDLE_BYTES
        for name, expected in _files(manifest.read_bytes(), what).items():
            if self._fetched(folder, target / name, left, until, what) != expected:
                raise _altered(name, what)
            left -= (target / name).stat().st_size

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def _folder(self, version: Version, what: str) -> str:
        """The path of a version's artifacts behind the server's artifact proxy."""
        answer = self._asked(
            "model-versions/get-download-uri",
            {"name": version.name, "version": str(version.number)},
            what,
        )
        uri = answer.get("artifact_uri")
        if not isinstance(uri, str):
            raise self._strange()
        parts = urlsplit(uri)
        path = [part for part in parts.path.split("/") if part]
        # Only the server that was named is asked: whoever registers versions must not choose another.
        elsewhere = parts.netloc.lower() not in ("", self._origin)
        if parts.scheme != _PROXIED or elsewhere or not path or {"..", "."} & set(path):
            raise BadArtifact(
                f"{what}: its artifacts do not lie behind {self.address}; start the server with "
                "`mlflow server --serve-artifacts` and register the bundle through it",
                reason="ARTIFACTS_NOT_SERVED",
                field="registry",
            )
        return "/".join(quote(part, safe="") for part in path)

    def _asked(self, path: str, query: Mapping[str, str], what: str) -> dict[str, Any]:
        until = time.monotonic() + _READ_S
        status, content = self._read(f"{_API}/{path}", query, _ANSWER_BYTES, until)
        if status in (400, 404):
            raise BadArtifact(
                f"{self.address} has no {what}; name a registered version or an alias",
                reason="BUNDLE_MISSING",
                field="bundle",
            )
        self._check(status)
        try:
            answer = json.loads(content)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise self._strange()
        return answer

    def _fetched(self, folder: str, target: Path, most: int, until: float, what: str) -> str:
        """Fetch one file; its SHA-256."""
        path = f"{_ARTIFACTS}/{folder}/{quote(target.name, safe='')}"
        digest = hashlib.sha256()
        with target.open("wb") as file:

            def write(part: bytes) -> None:
                digest.update(part)
                file.write(part)

            status = self._streamed(path, {}, most, until, write)
        if status in (400, 404):
            raise BadArtifact(
                f"{what}: {target.name} is not there; register the bundle again",
                reason="FILE_MISSING",
                field=target.name,
            )
        self._check(status)
        return digest.hexdigest()

    def _read(
        self, path: str, query: Mapping[str, str], most: int, until: float
    ) -> tuple[int, bytes]:
        content = bytearray()
        status = self._streamed(path, query, most, until, content.extend)
        return status, bytes(content)

    def _streamed(
        self,
        path: str,
        query: Mapping[str, str],
        most: int,
        until: float,
        write: Callable[[bytes], object],
    ) -> int:
        """Read an answer of at most ``most`` bytes before ``until``; its status."""
        done = 0
        try:
            with self._client.stream("GET", f"{self.address}{path}", params=query) as answer:
                for part in answer.iter_raw():
                    done += len(part)
                    if done > most:
                        raise BadArtifact(
                            f"{self.address} sends more than {most >> 20} MiB for {path}; "
                            "a bundle is small: register it again",
                            reason="TOO_LARGE",
                            field="registry",
                        )
                    if time.monotonic() > until:
                        raise self._down("takes too long")
                    write(part)
                return answer.status_code
        except self._httpx.HTTPError as error:
            raise self._down(f"does not answer ({type(error).__name__})") from None

    def _check(self, status: int) -> None:
        if 300 <= status < 400:
            raise self._down("redirects, which is not followed; set registry to where it leads")
        if status in (401, 403):
            raise self._down("refuses us; set MLFLOW_TRACKING_TOKEN, or _USERNAME and _PASSWORD")
        if status != 200:
            raise self._down(f"answers with status {status}")

    def _down(self, why: str) -> Unavailable:
        return Unavailable(
            f"the registry {self.address} {why}; check registry and the MLflow server",
            reason="REGISTRY_UNAVAILABLE",
            field="registry",
        )

    def _strange(self) -> Unavailable:
        return self._down("does not answer as MLflow's REST API does")


def _checked_address(address: str) -> str:
    parts = urlsplit(address)
    plain = not (parts.query or parts.fragment or parts.username or parts.password)
    if parts.scheme not in ("http", "https") or not parts.hostname or not plain:
        raise InvalidInput(
            "registry: the address of an MLflow server is http://HOST:PORT or https://…, without a "
            "password; set it by --registry, MITSUMORI_REGISTRY or MLFLOW_TRACKING_URI",
            field="registry",
        )
    return address.rstrip("/")


def _files(manifest: bytes, what: str) -> dict[str, str]:
    """File names and hashes of a manifest that nobody has checked yet."""
    try:
        files = json.loads(manifest)["files"]
        named = {str(name): str(sha256) for name, sha256 in files.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BadArtifact(
            f"{what}: manifest.json is not a bundle manifest; register the bundle again",
            reason="BUNDLE_DAMAGED",
            field="manifest.json",
        ) from None
    for name in named:
        if not _FILE.fullmatch(name) or name == "manifest.json":
            raise BadArtifact(
                f"{what}: manifest.json names the file {name[:80]!r}, which is none of a bundle",
                reason="BUNDLE_DAMAGED",
                field="files",
            )
    if len(named) > _FILES:
        raise BadArtifact(
            f"{what}: manifest.json names more than {_FILES} files; register the bundle again",
            reason="TOO_LARGE",
            field="files",
        )
    return named


def _altered(name: str, what: str) -> BadArtifact:
    return BadArtifact(
        f"{what}: {name} was altered or damaged since it was registered; register the bundle again",
        reason="HASH_MISMATCH",
        field=name,
    )
