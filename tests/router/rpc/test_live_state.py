"""What calls run on, and what stays of it in memory when something else takes its place."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

from benchmarks.swaps import bundle_named
from router.classifier.hot_swap import FolderSource, ServedBundle
from router.ledger.memory import MemoryLedger
from router.rpc.assembly import live_state_of
from router.rpc.live_state import Sources
from router.settings import Settings
from router.telemetry.observer import Observer


def test_the_first_bundle_leaves_memory_once_another_serves(
    settings: Settings, tmp_path: Path
) -> None:
    (first, _), (second, version) = (bundle_named(name, tmp_path) for name in ("first", "second"))
    link = tmp_path / "current"
    link.symlink_to(first)
    sources = Sources(bundle=ServedBundle(FolderSource(link), settings.encoders))
    live, _learner = live_state_of(settings, sources, MemoryLedger(), Observer())
    replaced = weakref.ref(live.current().reservations.router.bundle)
    link.unlink()
    link.symlink_to(second)
    live.refresh_bundle()
    assert live.current().reservations.router.bundle.version == version
    gc.collect()
    assert replaced() is None
