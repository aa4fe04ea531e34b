"""Addresses of bundles in MLflow's registry, and what every reader of a registry must do.

An address is ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``. A registry is the one of an MLflow server
(``mlflow_server``) or a store on this machine (``mlflow_store``); serving needs MLflow for neither. A reader
finds the version that an address names, and copies ``manifest.json``, the files that the manifest lists and
the signature if there is one, each checked against its hash.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from router.classifier.signature import SIGNATURE
from router.core.errors import BadArtifact, InvalidInput

__all__ = [
    "DEFAULT_STORE",
    "MANIFEST_TAG",
    "MAX_BUNDLE_BYTES",
    "MAX_MANIFEST_BYTES",
    "SCHEME",
    "SIGNATURE_TAG",
    "RegisteredVersion",
    "Registry",
    "RegistryAddress",
    "copy_bundle",
    "is_registry_address",
    "registry_address",
]

SCHEME = "models:/"
MANIFEST_TAG = "manifest_sha256"
"""Tag of a registered version that holds the SHA-256 of its ``manifest.json``; training sets it."""
SIGNATURE_TAG = "signature_sha256"
"""Tag of a registered version that holds the SHA-256 of its ``model.sig``; missing where it is not signed."""
DEFAULT_STORE = Path("build/mlflow/mlflow.db")
"""The database that training makes in a checkout, and that serving reads where no registry is named."""
MAX_MANIFEST_BYTES = 4 << 20
MAX_BUNDLE_BYTES = 512 << 20

_ADDRESS = re.compile(
    r"models:/(?P<name>[A-Za-z0-9][A-Za-z0-9_. -]{0,199})"
    r"(?:@(?P<alias>[A-Za-z0-9_-]{1,100})|/(?P<version>[1-9][0-9]{0,9}))"
)
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_MAX_FILES = 64
_SQLITE = "sqlite:///"


def is_registry_address(text: str) -> bool:
    """Whether a text names a bundle in the registry and not a directory."""
    return text.startswith(SCHEME)


@dataclass(frozen=True, slots=True)
class RegistryAddress:
    """A bundle in the registry, by an alias that may move or by a fixed version.

    Attributes:
        name: of the registered model.
        alias: such as ``champion``; ``None`` where a version is given.
        version: from 1; ``None`` where an alias is given.
    """

    name: str
    alias: str | None
    version: int | None

    @classmethod
    def parse(cls, text: str) -> RegistryAddress:
        """An address from ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``.

        Raises:
            InvalidInput: the text has neither form.
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
class RegisteredVersion:
    """A registered version.

    Attributes:
        name: of the registered model.
        number: from 1.
        created: milliseconds since 1970; tells it from a deleted version of the same number.
        manifest_sha256: expected hash of its manifest; ``None`` where the tag is missing.
        signature_sha256: expected hash of its signature; ``None`` where it is not signed.
    """

    name: str
    number: int
    created: int
    manifest_sha256: str | None
    signature_sha256: str | None = None


def registry_address(text: str) -> str:
    """The address of a registry as its reader takes it: no slash at the end, an absolute path.

    Args:
        text: ``http://HOST:PORT`` or ``https://…`` of a server; ``sqlite:///PATH`` or ``file:PATH`` of a
            store on this machine, where a relative path starts at the working directory.

    Raises:
        InvalidInput: it has another form.
    """
    parts = urlsplit(text)
    plain = not (parts.query or parts.fragment or parts.username or parts.password)
    if plain and parts.scheme in ("http", "https") and parts.hostname:
        return text.rstrip("/")
    if plain and text.startswith(_SQLITE) and text != _SQLITE:
        return f"{_SQLITE}{Path(text.removeprefix(_SQLITE)).absolute()}"
    if plain and parts.scheme == "file" and parts.path and parts.netloc in ("", "localhost"):
        return f"file:{Path(unquote(parts.path)).absolute()}"
    raise InvalidInput(
        "registry: an MLflow registry is http://HOST:PORT or https://… without a password, or on this "
        "machine sqlite:///PATH or file:PATH; set it by --registry, MITSUMORI_REGISTRY or "
        "MLFLOW_TRACKING_URI",
        field="registry",
    )


class Registry(Protocol):
    """Where registered versions are found. Used from one thread at a time.

    Attributes:
        address: the same for the same registry; names it in messages.
    """

    address: str

    def find(self, address: RegistryAddress, /) -> RegisteredVersion:
        """The version that an address names now; cheap enough to call every few seconds.

        Raises:
            BadArtifact: there is no such version, or the registry cannot be understood.
            Unavailable: the registry does not answer.
        """
        ...

    def download(self, version: RegisteredVersion, target: Path, /) -> None:
        """Copy the files of a version into a folder, each checked against its hash in the manifest.

        Args:
            version: from :meth:`find`.
            target: an empty folder.

        Raises:
            BadArtifact: a file is missing, too large or altered, or out of reach.
            Unavailable: the registry does not answer, or the download breaks off.
        """
        ...


def copy_bundle(copy: Callable[[Path, int], str], version: RegisteredVersion, target: Path) -> None:
    """Copy the manifest of a version, the files that it lists and the signature, and check the hash of each.

    Args:
        copy: copies the file of this name to this path, of at most so many bytes, and returns its SHA-256.
        version: which one.
        target: an empty folder.

    Raises:
        BadArtifact: a file is altered, the manifest is none, or names what no bundle has. ``copy`` raises
            what it finds.
    """
    what = f"{SCHEME}{version.name}/{version.number}"
    manifest = target / "manifest.json"
    sha256 = copy(manifest, MAX_MANIFEST_BYTES)
    if version.manifest_sha256 not in (None, sha256):
        raise _altered_file("manifest.json", what)
    files = _listed_files(manifest.read_bytes(), what)
    if version.signature_sha256 is not None:
        files[SIGNATURE] = version.signature_sha256
    bytes_left = MAX_BUNDLE_BYTES
    for name, expected in files.items():
        if copy(target / name, bytes_left) != expected:
            raise _altered_file(name, what)
        bytes_left -= (target / name).stat().st_size


def _listed_files(manifest: bytes, what: str) -> dict[str, str]:
    """File name → SHA-256, from a manifest that is not verified yet."""
    try:
        files = json.loads(manifest)["files"]
        hashes = {str(name): str(sha256) for name, sha256 in files.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BadArtifact(
            f"{what}: manifest.json is not a bundle manifest; register the bundle again",
            reason="BUNDLE_DAMAGED",
            field="manifest.json",
        ) from None
    for name in hashes:
        if not _FILE.fullmatch(name) or name in ("manifest.json", SIGNATURE):
            raise BadArtifact(
                f"{what}: manifest.json names the file {name[:80]!r}, which no bundle has",
                reason="BUNDLE_DAMAGED",
                field="files",
            )
    if len(hashes) > _MAX_FILES:
        raise BadArtifact(
            f"{what}: manifest.json names more than {_MAX_FILES} files; register the bundle again",
            reason="TOO_LARGE",
            field="files",
        )
    return hashes


def _altered_file(name: str, what: str) -> BadArtifact:
    return BadArtifact(
        f"{what}: {name} was altered or damaged since it was registered; register the bundle again",
        reason="HASH_MISMATCH",
        field=name,
    )
