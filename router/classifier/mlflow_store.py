"""The registry in an MLflow store on this machine: a SQLite database, or a folder of files.

It reads what ``make train`` and ``make promote`` write, without MLflow and without a server: the rows or
files of the registry for the version, and the folder of its artifacts for the bundle. It never writes.

Source: the tables ``model_versions``, ``model_version_tags`` and ``registered_model_aliases`` of MLflow 2.9
to 3.17, and the folder ``models/`` of its file store.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from router.classifier.registry import (
    MANIFEST_TAG,
    SCHEME,
    SIGNATURE_TAG,
    RegisteredVersion,
    RegistryAddress,
    copy_bundle,
    registry_address,
)
from router.core.errors import BadArtifact, InvalidInput, Unavailable
from router.files import MAX_TEXT_BYTES, parse_yaml, read_bounded, sha256_of

__all__ = ["StoreRegistry"]

_SQLITE, _FOLDER = "sqlite:///", "file:"
_DELETED = "Deleted_Internal"
_BUSY_S = 5.0
_TAGGED = (
    "SELECT value FROM model_version_tags WHERE name = v.name AND version = v.version AND key = ?"
)
_ALIASED = "SELECT version FROM registered_model_aliases WHERE name = v.name AND alias = ?"
_QUERY = f"""
SELECT v.version, v.creation_time, v.current_stage, COALESCE(NULLIF(v.storage_location, ''), v.source),
       ({_TAGGED}), ({_TAGGED})
FROM model_versions AS v WHERE v.name = ? AND v.version = """  # noqa: S608 -- constants


@dataclass(frozen=True, slots=True)
class _Entry:
    """A version with the address of its files."""

    version: RegisteredVersion
    source: str


class StoreRegistry:
    """The registry of a store on this machine. Use from one thread at a time.

    Args:
        address: ``sqlite:///PATH`` of a database, or ``file:PATH`` of a folder.

    Raises:
        InvalidInput: the address has another form.
    """

    def __init__(self, address: str) -> None:
        self.address = registry_address(address)
        if self.address.startswith(_SQLITE):
            self._path = Path(self.address.removeprefix(_SQLITE))
        elif self.address.startswith(_FOLDER):
            self._path = Path(self.address.removeprefix(_FOLDER))
        else:
            raise InvalidInput(
                f"registry: {self.address} is no store on this machine", field="registry"
            )

    def find(self, address: RegistryAddress) -> RegisteredVersion:
        """The version that an address names now.

        Raises:
            BadArtifact: there is no such version, or another release of MLflow wrote the store.
            Unavailable: the store is not there or locked.
        """
        return self._entry(address).version

    def download(self, version: RegisteredVersion, target: Path) -> None:
        """Copy the files of a version into a folder, each checked against its hash in the manifest.

        Args:
            version: from :meth:`find`.
            target: an empty folder.

        Raises:
            BadArtifact: a file is missing, too large or altered, or not on this machine.
            Unavailable: the store is not there or locked.
        """
        entry = self._entry(RegistryAddress(version.name, None, version.number))
        what = f"{SCHEME}{version.name}/{version.number}"
        folder = self._folder(entry.source, what)

        def copy(path: Path, max_bytes: int) -> str:
            source = folder / path.name
            try:
                # Neither a pipe nor a device, which would block.
                size = source.stat().st_size if source.is_file() else None
                if size is not None and size <= max_bytes:
                    shutil.copyfile(source, path)
                    return sha256_of(path.read_bytes())
            except OSError:
                size = None
            if size is None:
                raise BadArtifact(
                    f"{what}: {source} is not there; register the bundle again, or put its folder back",
                    reason="FILE_MISSING",
                    field=path.name,
                )
            raise BadArtifact(
                f"{what}: {source} is larger than {max_bytes >> 20} MiB; register the bundle again",
                reason="TOO_LARGE",
                field=path.name,
            )

        copy_bundle(copy, version, target)

    def _entry(self, address: RegistryAddress) -> _Entry:
        if not self._path.exists():
            raise Unavailable(
                f"the registry {self.address} is not there; make it with `make train`, or name another "
                "with --registry",
                reason="REGISTRY_UNAVAILABLE",
                field="registry",
            )
        with self._understood():
            read = _of_database if self.address.startswith(_SQLITE) else _of_folder
            found = read(self._path, address)
        if found is None:
            raise BadArtifact(
                f"{self.address} has no {address}; name a registered version or an alias",
                reason="BUNDLE_MISSING",
                field="bundle",
            )
        return found

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """Turn whatever a store of another kind or release causes into one line."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if "no such" not in str(error):
                raise Unavailable(
                    f"the registry {self.address} cannot be read now ({error}); it will be read again",
                    reason="REGISTRY_UNAVAILABLE",
                    field="registry",
                ) from None
            raise self._strange(str(error)) from None
        except sqlite3.DatabaseError as error:
            raise self._strange(str(error)) from None
        except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._strange(type(error).__name__) from None

    def _strange(self, why: str) -> BadArtifact:
        return BadArtifact(
            f"the registry {self.address} is not in a form that this release reads ({why}); start "
            "`mlflow server --serve-artifacts` on it and name that with --registry http://HOST:PORT",
            reason="REGISTRY_UNREADABLE",
            field="registry",
        )

    def _folder(self, source: str, what: str) -> Path:
        parts = urlsplit(source)
        if parts.scheme not in ("", "file") or parts.netloc not in ("", "localhost"):
            raise BadArtifact(
                f"{what}: its files are not on this machine ({parts.scheme}:); name the MLflow server that "
                "serves them with --registry http://HOST:PORT",
                reason="ARTIFACTS_NOT_SERVED",
                field="registry",
            )
        return Path(unquote(parts.path) if parts.scheme else source)


def _of_database(path: Path, address: RegistryAddress) -> _Entry | None:
    """The version in the tables of a SQLite database.

    Raises:
        sqlite3.DatabaseError: it is locked, none, or has other tables.
        ValueError: several workspaces have a model of this name.
    """
    by_alias = address.alias is not None
    query = _QUERY + (f"({_ALIASED})" if by_alias else "?")
    named = address.alias if by_alias else address.version
    values = (MANIFEST_TAG, SIGNATURE_TAG, address.name, named)
    uri = f"file:{quote(str(path))}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_S)) as connection:
        rows = connection.execute(query, values).fetchall()
    if len(rows) > 1:
        raise ValueError("several workspaces")
    return _entry(address.name, *rows[0]) if rows else None


def _of_folder(path: Path, address: RegistryAddress) -> _Entry | None:
    """The version in the folder of a file store.

    Raises:
        OSError, ValueError, KeyError, TypeError, AttributeError: its files are others.
    """
    model = path / "models" / address.name
    number = address.version
    if address.alias is not None:
        named = model / "aliases" / address.alias
        number = int(read_bounded(named, MAX_TEXT_BYTES)) if named.is_file() else None
    folder = model / f"version-{number}"
    if number is None or not folder.is_dir():
        return None
    found = parse_yaml(read_bounded(folder / "meta.yaml", MAX_TEXT_BYTES))
    source = found.get("storage_location") or found["source"]
    hashes = [_tag(folder, MANIFEST_TAG), _tag(folder, SIGNATURE_TAG)]
    return _entry(
        address.name, number, found["creation_timestamp"], found["current_stage"], source, *hashes
    )


def _tag(folder: Path, name: str) -> str | None:
    path = folder / "tags" / name
    return read_bounded(path, MAX_TEXT_BYTES).decode().strip() if path.is_file() else None


def _entry(
    name: str, number: Any, created: Any, stage: Any, source: Any, manifest: Any, signature: Any
) -> _Entry | None:
    """What a store says of a version; ``None`` where the version was deleted.

    Args:
        name: of the registered model.
        number: of the version.
        created: milliseconds since 1970.
        stage: MLflow's stage, which marks a deleted version.
        source: where its files are.
        manifest: SHA-256 of its manifest, or ``None``.
        signature: SHA-256 of its signature, or ``None``.

    Raises:
        TypeError, ValueError: a value has another type.
    """
    if stage == _DELETED:
        return None
    if not isinstance(source, str):
        raise TypeError("source")
    return _Entry(RegisteredVersion(name, int(number), int(created), manifest, signature), source)
