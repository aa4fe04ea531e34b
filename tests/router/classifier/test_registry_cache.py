"""The cache of the registry, which the processes of a service share."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from router.classifier.hot_swap import RegistrySource
from router.classifier.registry import RegisteredVersion, RegistryAddress
from router.files import sha256_of
from router.paths import DEFAULT_BUNDLE
from tests.readiness import PATIENCE_S, wait_until

ADDRESS = RegistryAddress.parse("models:/mitsumori@champion")


class FolderRegistry:
    """A registry with one bundle; counts its downloads, and waits within them."""

    address = "file:/registry"

    def __init__(self, *, tells_hash: bool) -> None:
        sha256 = sha256_of((DEFAULT_BUNDLE / "manifest.json").read_bytes())
        self._version = RegisteredVersion("mitsumori", 1, 0, sha256 if tells_hash else None)
        self.downloads = 0
        self.go_on = threading.Event()

    def find(self, _address: RegistryAddress, /) -> RegisteredVersion:
        return self._version

    def download(self, _version: RegisteredVersion, directory: Path, /) -> None:
        self.downloads += 1
        assert self.go_on.wait(PATIENCE_S)
        shutil.copytree(DEFAULT_BUNDLE, directory, dirs_exist_ok=True)


@pytest.mark.parametrize(("tells_hash", "downloads"), [(True, 1), (False, 3)])
def test_what_one_process_fetches_the_others_find_and_do_not_touch(
    tmp_path: Path, tells_hash: bool, downloads: int
) -> None:
    registry = FolderRegistry(tells_hash=tells_hash)

    def fetched() -> tuple[Path, int]:
        source = RegistrySource(registry, ADDRESS, tmp_path)
        source.find()
        directory = source.fetch()
        source.remember(directory)
        return directory, directory.stat().st_ino

    with ThreadPoolExecutor(3) as pool:
        processes = [pool.submit(fetched) for _ in range(3)]
        wait_until(lambda: registry.downloads == 1)
        registry.go_on.set()
        found = {one.result() for one in processes}
    assert len(found) == 1
    assert registry.downloads == downloads
    ((directory, _),) = found
    assert RegistrySource(registry, ADDRESS, tmp_path).last_served() == directory
