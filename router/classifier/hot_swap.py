"""The bundle that serves, and how another takes its place while calls go on.

A source says cheaply which bundle there is now; one that is new is loaded aside with every hash checked,
tried on a few prompts, and only then put in place by one assignment. Calls in flight keep the bundle they
began with. One that cannot serve is refused, and the one before goes on.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from router.classifier.bundle import Bundle, load_bundle, read_manifest
from router.classifier.mlflow_registry import Registry, RegistryAddress, Version
from router.core.errors import BadArtifact, MitsumoriError, Unavailable
from router.core.types import Score
from router.files import sha256_of
from router.logs import logger
from router.settings import Settings

__all__ = [
    "BundleSource",
    "FolderSource",
    "FoundBundle",
    "RegistrySource",
    "ServedBundle",
    "loaded",
    "source_of",
]

_KEPT = 5
"""Versions of a model that stay in the cache, the newest."""
_TRIED = (
    "hello world",
    "Prove that 3 ≤ π.\n```python\nprint(3.14)\n```",
    "東京の明日の天気を調べる方法を教えてください。",
    " ",
)
"""Prompts that a bundle must answer before it serves; they warm it up as well."""


@dataclass(frozen=True, slots=True)
class FoundBundle:
    """What a source has now.

    Attributes:
        key: differs wherever the bundle may differ.
        place: for people: the directory, or the address with its version.
    """

    key: str
    place: str


class BundleSource(Protocol):
    """Where a bundle comes from. Used from one thread at a time.

    Raises, from ``find`` and ``fetch``: ``BadArtifact`` where there is no sound bundle, ``Unavailable``
    where the source does not answer.
    """

    def find(self) -> FoundBundle:
        """What there is now; cheap enough to be asked every few seconds."""
        ...

    def fetch(self) -> Path:
        """The directory of what was found; nothing in it has been trusted yet."""
        ...

    def last(self) -> Path | None:
        """The directory of what :meth:`keep` was told last, where the source can be away."""
        ...

    def keep(self, directory: Path, /) -> None:
        """Remember that this one serves."""
        ...


class FolderSource:
    """A directory, or a link to one."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._resolved = directory

    def find(self) -> FoundBundle:
        """The directory by the content of its manifest, and the size and age of its files."""
        # A link may be moved while we read: all files must come from one and the same place.
        self._resolved = self._directory.resolve()
        digest = hashlib.sha256(str(self._resolved).encode())
        try:
            digest.update((self._resolved / "manifest.json").read_bytes())
            for path in sorted(self._resolved.iterdir()):
                status = path.stat()
                digest.update(f"{path.name} {status.st_size} {status.st_mtime_ns}".encode())
        except OSError:
            read_manifest(self._directory)  # says what is missing
            raise Unavailable(
                f"{self._directory} changed while it was read; it is read again",
                reason="BUNDLE_CHANGING",
                field="bundle",
            ) from None
        return FoundBundle(digest.hexdigest(), str(self._directory))

    def fetch(self) -> Path:
        """The directory itself."""
        return self._resolved

    def last(self) -> Path | None:
        """Nothing: a directory is not away."""
        return None

    def keep(self, _directory: Path, /) -> None:
        """Nothing to remember."""


class RegistrySource:
    """A bundle of the registry, kept in a local cache by version and hash of its manifest.

    Args:
        registry: where it is asked for.
        address: which one.
        cache: a folder of ours.
    """

    def __init__(self, registry: Registry, address: RegistryAddress, cache: Path) -> None:
        self._registry = registry
        self._address = address
        # Two registries may have versions of the same name and number.
        self._folder = cache / sha256_of(registry.address.encode())[:12] / address.name
        self._version: Version | None = None

    def find(self) -> FoundBundle:
        """The version that the address means now."""
        version = self._registry.find(self._address)
        self._version = version
        key = f"{version.number} {version.created} {version.manifest_sha256}"
        return FoundBundle(key, f"{self._address} (version {version.number})")

    def fetch(self) -> Path:
        """The version in the cache, downloaded where it is not there yet."""
        assert self._version is not None  # noqa: S101 — it was found
        version = self._version
        known = version.manifest_sha256
        if known is not None:
            directory = self._directory(version, known)
            if _whole(directory, known):
                return directory
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".new-", dir=self._folder) as scratch:
                fresh = Path(scratch) / "bundle"
                fresh.mkdir()
                self._registry.download(version, fresh)
                sha256 = sha256_of((fresh / "manifest.json").read_bytes())
                directory = self._directory(version, sha256)
                # Another server may be reading it: what is whole stays where it is.
                if not _whole(directory, sha256):
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

    def last(self) -> Path | None:
        """The directory that served last under this address."""
        try:
            name = json.loads(self._pointer.read_text(encoding="utf-8"))["directory"]
            directory = self._folder / Path(name).name
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return directory if directory.is_dir() else None

    def keep(self, directory: Path, /) -> None:
        """Remember it for a start without the registry, and let go of old versions."""
        scratch = self._pointer.with_suffix(".part")
        try:
            scratch.write_text(json.dumps({"directory": directory.name}), encoding="utf-8")
            scratch.replace(self._pointer)
            for old in self._old(directory):
                shutil.rmtree(old, ignore_errors=True)
        except OSError as error:
            logger().warning("cache_not_written", reason=error.strerror)

    @property
    def _pointer(self) -> Path:
        end = self._address.alias or f"v{self._address.version}"
        return self._folder / f"@{end}.json"

    def _directory(self, version: Version, manifest_sha256: str) -> Path:
        return self._folder / f"{version.number}-{manifest_sha256[:12]}"

    def _old(self, current: Path) -> Iterable[Path]:
        named = [path for path in self._folder.glob("[0-9]*-*") if path != current]
        newest = sorted(named, key=lambda path: path.stat().st_mtime, reverse=True)
        return newest[_KEPT - 1 :]


def _whole(directory: Path, manifest_sha256: str) -> bool:
    """Whether the cache has a version, undamaged; loading it checks every hash again."""
    try:
        content = (directory / "manifest.json").read_bytes()
        files = json.loads(content)["files"]
        return sha256_of(content) == manifest_sha256 and all(
            sha256_of((directory / name).read_bytes()) == expected
            for name, expected in files.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def source_of(settings: Settings) -> BundleSource:
    """Where the settings say that the bundle comes from.

    Raises:
        InvalidInput: the registry's address is no http(s) address.
        MitsumoriError: the extra for registries is not installed.
    """
    if isinstance(settings.bundle, RegistryAddress):
        return RegistrySource(Registry(settings.registry), settings.bundle, settings.registry_cache)
    return FolderSource(settings.bundle)


def _check(score: Score) -> None:
    shares = [*score.p_adequate.values(), *score.label_distribution.values()]
    tokens = [count for one in score.lengths.values() for count in (one.p50, one.p90, one.p99)]
    if not all(0 <= share <= 1 for share in shares):
        raise ValueError("a probability outside 0..1")
    if not all(np.isfinite(count) and count >= 0 for count in tokens):
        raise ValueError("an impossible output length")


def loaded(directory: Path, encoders: Path) -> Bundle:
    """A bundle that has answered a few prompts, and is warm by that.

    Args:
        directory: the bundle.
        encoders: the folder of encoders.

    Raises:
        BadArtifact: it cannot serve; says why.
    """
    try:
        bundle = load_bundle(directory, encoders)
        for text in _TRIED:
            for score in bundle.every_score(text):
                _check(score)
    except MitsumoriError:
        raise
    except Exception as error:  # noqa: BLE001 — onnxruntime raises types of its own for what is no graph
        why = str(error) if isinstance(error, ValueError) else type(error).__name__
        raise BadArtifact(
            f"{directory}: classifier.onnx does not run ({why.splitlines()[0][:120]}); train the "
            "bundle again, or restore it",
            reason="BUNDLE_DAMAGED",
            field=str(directory),
        ) from None
    return bundle


def _give_memory_back() -> None:
    # glibc keeps what is freed for itself, more with each swap; elsewhere there is nothing to do.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _fits_all(_new: Bundle, _old: Bundle | None) -> None:
    return


class ServedBundle:
    """Holds the bundle that serves. :meth:`current` from any thread, the rest from one at a time.

    Args:
        source: where bundles come from.
        encoders: the folder of encoders.
        fits: raises ``BadArtifact`` where a bundle does not go with the rest, such as the catalog; gets the
            new one, and the one that serves.

    Raises:
        BadArtifact, Unavailable: there is no bundle to begin with, nor a cached one.
    """

    def __init__(
        self,
        source: BundleSource,
        encoders: Path,
        fits: Callable[[Bundle, Bundle | None], None] = _fits_all,
    ) -> None:
        self._source = source
        self._encoders = encoders
        self._fits = fits
        self._seen: str | None = None
        self._again = False
        self._bundle = self._first()

    def current(self) -> Bundle:
        """The bundle to use now. Take it once per call."""
        return self._bundle

    def _first(self) -> Bundle:
        try:
            found = self._source.find()
            directory = self._source.fetch()
            bundle = self._sound(directory, None)
        except (BadArtifact, Unavailable) as error:
            cached = self._source.last()
            if cached is None:
                raise
            bundle = self._sound(cached, None)
            logger().warning(
                "cached_bundle_serves",
                bundle=bundle.version,
                reason=error.reason,
                detail=error.message,
            )
            return bundle
        self._seen = found.key
        self._source.keep(directory)
        return bundle

    def _sound(self, directory: Path, old: Bundle | None) -> Bundle:
        bundle = loaded(directory, self._encoders)
        self._fits(bundle, old)
        return bundle

    def look_again(self) -> None:
        """Let the next :meth:`refresh` try a bundle that was refused before. Safe in a signal handler."""
        self._again = True

    def refresh(self) -> None:
        """Look for another bundle, and swap to it where it can serve. Each one is tried once.

        Raises:
            Unavailable: the source does not answer; the bundle goes on serving, and this may be repeated.
        """
        again, self._again = self._again, False
        old, place, key = self._bundle, "", "missing"
        try:
            found = self._source.find()
            place, key = found.place, found.key
            if key == self._seen and not again:
                return
            directory = self._source.fetch()
            bundle = self._sound(directory, old)
        except BadArtifact as error:
            if key != self._seen or again:
                logger().warning(
                    "bundle_refused",
                    source=place,
                    reason=error.reason,
                    detail=error.message,
                    serving=old.version,
                )
            self._seen = key
            return
        self._seen = key
        if bundle.version == old.version:
            if again:
                logger().info("bundle_unchanged", bundle=old.version)
            return
        self._bundle = bundle
        self._source.keep(directory)
        logger().info("bundle_swapped", source=place, bundle=bundle.version, before=old.version)
        del old
        _give_memory_back()
