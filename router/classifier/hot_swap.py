"""Replaces the serving bundle by a new one without interrupting calls.

A source reports its current revision cheaply. A new revision is loaded beside the serving bundle with every
hash checked, tried on a few prompts, and swapped in by one assignment. Calls in flight keep the bundle that
they started with. A bundle that cannot serve is refused, and the current one continues to serve.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np

from router.classifier.bundle import Bundle, load_bundle
from router.classifier.manifest import read_manifest
from router.classifier.mlflow_server import ServerRegistry
from router.classifier.mlflow_store import StoreRegistry
from router.classifier.registry import (
    MAX_MANIFEST_BYTES,
    RegisteredVersion,
    Registry,
    RegistryAddress,
)
from router.classifier.signature import SIGNATURE
from router.core.errors import BadArtifact, MitsumoriError, Unavailable
from router.core.types import Score
from router.files import read_bounded, replace_text, sha256_of
from router.logs import logger
from router.watched import InputStatus, Revision, Watched

__all__ = [
    "BundleInput",
    "BundleSource",
    "FolderSource",
    "RegistrySource",
    "ServedBundle",
    "load_verified_bundle",
    "open_bundle_source",
]

_CACHED_VERSIONS = 5
"""How many versions of a registered model stay in the cache."""
_TRIAL_PROMPTS = (
    "hello world",
    "Prove that 3 ≤ π.\n```python\nprint(3.14)\n```",
    "東京の明日の天気を調べる方法を教えてください。",
    " ",
)
"""Prompts that a bundle must score before it serves, which also warms it up."""


class BundleSource(Protocol):
    """Where a bundle comes from. Used from one thread at a time.

    ``find`` and ``fetch`` raise ``BadArtifact`` if there is no valid bundle, and ``Unavailable`` if the
    source does not answer.
    """

    def find(self) -> Revision:
        """The current revision; cheap enough to call every few seconds."""
        ...

    def fetch(self) -> Path:
        """A local directory with the revision that ``find`` returned last; nothing in it is verified yet."""
        ...

    def last_served(self) -> Path | None:
        """The directory last passed to :meth:`remember`; ``None`` if there is none or the source is local."""
        ...

    def remember(self, directory: Path, /) -> None:
        """Remember the directory of the bundle that serves now."""
        ...


class FolderSource:
    """A directory, or a link to one."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._resolved = directory

    def find(self) -> Revision:
        """The revision, from the content of the manifest and the sizes and times of the files."""
        # The link may move while we read: all files must come from the same directory.
        self._resolved = self._directory.resolve()
        digest = hashlib.sha256(str(self._resolved).encode())
        try:
            digest.update(read_bounded(self._resolved / "manifest.json", MAX_MANIFEST_BYTES))
            for path in sorted(self._resolved.iterdir()):
                status = path.stat()
                digest.update(f"{path.name} {status.st_size} {status.st_mtime_ns}".encode())
        except OSError:
            read_manifest(self._directory)  # raises the precise error where there is one
            raise Unavailable(
                f"{self._directory} changed while it was read; it will be read again",
                reason="BUNDLE_CHANGING",
                field="bundle",
            ) from None
        return Revision(digest.hexdigest(), str(self._directory))

    def fetch(self) -> Path:
        """The directory itself."""
        return self._resolved

    def last_served(self) -> Path | None:
        """``None``: a local directory is never out of reach."""
        return None

    def remember(self, _directory: Path, /) -> None:
        """Does nothing: a directory needs no cache."""


class RegistrySource:
    """A bundle in MLflow's registry, with a local cache by version and hash of the manifest.

    Args:
        registry: the registry.
        address: which bundle of it.
        cache: folder for downloads; written to, and cleared of old versions.
    """

    def __init__(self, registry: Registry, address: RegistryAddress, cache: Path) -> None:
        self._registry = registry
        self._address = address
        # Two registries may use the same name and version number.
        self._folder = cache / sha256_of(registry.address.encode())[:12] / address.name
        self._version: RegisteredVersion | None = None

    def find(self) -> Revision:
        """The version that the address names now."""
        version = self._registry.find(self._address)
        self._version = version
        key = f"{version.number} {version.created} {version.manifest_sha256} {version.signature_sha256}"
        return Revision(key, f"{self._address} (version {version.number})")

    def fetch(self) -> Path:
        """The version in the cache, downloaded if necessary."""
        assert self._version is not None  # noqa: S101 — ``find`` comes first
        version = self._version
        known = version.manifest_sha256
        if known is not None:
            directory = self._directory(version, known)
            if _is_intact(directory, known, version.signature_sha256):
                return directory
        try:
            with (
                self._alone(),
                tempfile.TemporaryDirectory(prefix=".new-", dir=self._folder) as scratch,
            ):
                # Another process of this service may have fetched it meanwhile.
                if known is not None and _is_intact(
                    self._directory(version, known), known, version.signature_sha256
                ):
                    return self._directory(version, known)
                fresh = Path(scratch) / "bundle"
                fresh.mkdir()
                self._registry.download(version, fresh)
                sha256 = sha256_of((fresh / "manifest.json").read_bytes())
                directory = self._directory(version, sha256)
                # Another server may be reading the directory: an intact one is not replaced.
                if not _is_intact(directory, sha256, version.signature_sha256):
                    shutil.rmtree(directory, ignore_errors=True)
                    fresh.replace(directory)
        except OSError as error:
            raise Unavailable(
                f"the cache {self._folder} cannot be written ({error.strerror}); name another with "
                "MITSUMORI_REGISTRY_CACHE",
                reason="CACHE_UNUSABLE",
                field="registry_cache",
            ) from None
        return directory

    def last_served(self) -> Path | None:
        """The directory that served last under this address; ``None`` if there is none."""
        try:
            name = json.loads(self._pointer.read_text(encoding="utf-8"))["directory"]
            directory = self._folder / Path(name).name
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        return directory if directory.is_dir() else None

    def remember(self, directory: Path, /) -> None:
        """Remember it for a start without the registry, and delete old versions."""
        try:
            with self._alone():
                replace_text(self._pointer, json.dumps({"directory": directory.name}))
                for old in self._old(directory):
                    shutil.rmtree(old, ignore_errors=True)
        except OSError as error:
            logger().warning("cache_not_written", reason=error.strerror)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Within the block, no other process of this machine changes the cache."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / ".lock").open("ab") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    @property
    def _pointer(self) -> Path:
        end = self._address.alias or f"v{self._address.version}"
        return self._folder / f"@{end}.json"

    def _directory(self, version: RegisteredVersion, manifest_sha256: str) -> Path:
        return self._folder / f"{version.number}-{manifest_sha256[:12]}"

    def _old(self, current: Path) -> Iterable[Path]:
        named = [path for path in self._folder.glob("[0-9]*-*") if path != current]
        newest = sorted(named, key=lambda path: path.stat().st_mtime, reverse=True)
        return newest[_CACHED_VERSIONS - 1 :]


def _is_intact(directory: Path, manifest_sha256: str, signature_sha256: str | None) -> bool:
    """Whether a version is in the cache and undamaged; loading it checks every hash again.

    Args:
        directory: of the version in the cache.
        manifest_sha256: of its manifest.
        signature_sha256: of its signature; ``None``: it has none.
    """
    try:
        content = (directory / "manifest.json").read_bytes()
        files = dict(json.loads(content)["files"])
        if signature_sha256 is not None:
            files[SIGNATURE] = signature_sha256
        return sha256_of(content) == manifest_sha256 and all(
            sha256_of((directory / name).read_bytes()) == expected
            for name, expected in files.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def open_bundle_source(bundle: Path | RegistryAddress, registry: str, cache: Path) -> BundleSource:
    """The source of a bundle.

    Args:
        bundle: a directory, or an address in a registry.
        registry: address of an MLflow server, or of a store on this machine; ignored for a directory.
        cache: folder for downloads from a registry; ignored for a directory.

    Raises:
        InvalidInput: the registry's address has another form.
        MitsumoriError: the extra for MLflow servers is not installed.
    """
    if isinstance(bundle, RegistryAddress):
        server = registry.startswith("http")
        opened = ServerRegistry(registry) if server else StoreRegistry(registry)
        return RegistrySource(opened, bundle, cache)
    return FolderSource(bundle)


def _check(score: Score) -> None:
    probabilities = [*score.p_adequate.values(), *score.label_distribution.values()]
    tokens = [count for one in score.lengths.values() for count in (one.p50, one.p90, one.p99)]
    if not all(0 <= p <= 1 for p in probabilities):
        raise ValueError("a probability outside 0..1")
    if not all(np.isfinite(count) and count >= 0 for count in tokens):
        raise ValueError("an impossible output length")


def load_verified_bundle(
    directory: Path, encoders: Path, public_keys: Path | None = None
) -> Bundle:
    """Load a bundle and score a few prompts with it, which verifies it and warms it up.

    Args:
        directory: the bundle.
        encoders: the folder of encoders.
        public_keys: PEM file with the keys of which one must have signed the bundle; ``None``: no signature
            is asked for.

    Raises:
        BadArtifact: the bundle cannot serve; the message says why.
    """
    try:
        bundle = load_bundle(directory, encoders, public_keys)
        for text in _TRIAL_PROMPTS:
            for score in bundle.score_all_stages(text):
                _check(score)
    except MitsumoriError:
        raise
    except Exception as error:  # noqa: BLE001 — onnxruntime raises its own types for a bad graph
        why = str(error) if isinstance(error, ValueError) else type(error).__name__
        raise BadArtifact(
            f"{directory}: classifier.onnx does not run ({why.splitlines()[0][:120]}); train the "
            "bundle again, or restore it",
            reason="BUNDLE_DAMAGED",
            field=str(directory),
        ) from None
    return bundle


class BundleInput:
    """A source of bundles as an input: loads and tries what it fetches."""

    def __init__(
        self, source: BundleSource, encoders: Path, public_keys: Path | None = None
    ) -> None:
        self._source, self._encoders, self._public_keys = source, encoders, public_keys
        self._found = Revision("", "")
        self.directory: Path | None = None

    def find(self) -> Revision:
        """The source's current revision."""
        self._found = self._source.find()
        return self._found

    def settled(self) -> Revision:
        """As found: the hashes of the manifest tell a bundle that is not whole."""
        return self._found

    def load(self) -> Bundle:
        """The bundle, verified and warm."""
        self.directory = self._source.fetch()
        return self.loaded(self.directory)

    def loaded(self, directory: Path) -> Bundle:
        """A bundle of this folder, verified and warm."""
        return load_verified_bundle(directory, self._encoders, self._public_keys)


class ServedBundle:
    """Holds the bundle that serves and replaces it.

    :meth:`current` may be called from any thread, the other methods from one thread at a time.

    Args:
        source: where bundles come from.
        encoders: the folder of encoders.
        public_keys: PEM file with the keys of which one must have signed a bundle, read anew for every one;
            ``None``: no signature is asked for.

    Raises:
        BadArtifact, Unavailable: the source has no bundle that can serve, and neither has the cache.
    """

    def __init__(
        self, source: BundleSource, encoders: Path, public_keys: Path | None = None
    ) -> None:
        self._source = source
        self._input = BundleInput(source, encoders, public_keys)
        self._watched = Watched(
            "bundle", self._input, version=lambda bundle: bundle.version, first=self._cached
        )
        if self._watched.status.refusal is None and self._input.directory is not None:
            source.remember(self._input.directory)

    def _cached(self, error: MitsumoriError) -> Bundle:
        """The bundle that served last, where the source has none at the start."""
        cached = self._source.last_served()
        if cached is None or not isinstance(error, BadArtifact | Unavailable):
            raise error
        bundle = self._input.loaded(cached)
        logger().warning(
            "cached_bundle_serves",
            bundle=bundle.version,
            reason=error.reason,
            detail=error.message,
        )
        return bundle

    @property
    def status(self) -> InputStatus:
        """Which bundle is in use, and what was refused."""
        return self._watched.status

    def current(self) -> Bundle:
        """The bundle that serves now. Read it once per call: the next read may return another."""
        return self._watched.current()[0]

    def retry_refused(self) -> None:
        """Let the next :meth:`refresh` try a refused revision again. Safe in a signal handler."""
        self._watched.retry_refused()

    def reconsider(self) -> None:
        """Let the next :meth:`refresh` try a refused bundle again, since what it must fit has changed."""
        self._watched.reconsider()

    def refresh(self, adopt: Callable[[Bundle], object] = lambda _: None) -> bool:
        """Swap to the source's current revision if it is new and can serve. Each revision is tried once.

        Args:
            adopt: takes a bundle; raises ``MitsumoriError`` for one that must not replace the serving one.

        Returns:
            Whether another bundle serves now.

        Raises:
            Unavailable: the source does not answer. The current bundle continues to serve; call again later.
        """
        swapped = self._watched.refresh(adopt)
        if swapped:
            assert self._input.directory is not None  # noqa: S101 — it was loaded
            self._source.remember(self._input.directory)
        return swapped
