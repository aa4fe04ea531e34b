"""Swaps bundles under load: no request may fail, and every bundle that cannot serve must be refused."""

from __future__ import annotations

import json
import pickle
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from rich.progress import track

from benchmarks.report import Figure
from benchmarks.serving import resident_mib
from mitsumori import CallFailed, Decision, Router
from router.classifier.manifest import read_manifest
from router.cli.demo import serving
from router.files import sha256_of
from router.paths import DEFAULT_BUNDLE

SWAPS = 200
CALLERS = 4
WAIT_S = 300.0
PROMPTS = (
    "What is 2 + 2?",
    "Prove that √2 is irrational.",
    "東京の天気は?",
    "x = [i for i in y]" * 40,
)


# ── bundles, good and bad ─────────────────────────────────────────────────────────────────────────


def bundle_named(name: str, folder: Path, source: Path = DEFAULT_BUNDLE) -> tuple[Path, str]:
    """Copy a bundle under another name, and so with another version.

    Args:
        name: of the copy.
        folder: where to make it.
        source: the bundle to copy.

    Returns:
        The directory of the copy and its version.
    """
    target = folder / name
    shutil.copytree(source, target)
    _change(target, lambda manifest: manifest.update(name=name))
    return target, read_manifest(target)[1]


def _change(bundle: Path, change: Callable[[dict], object]) -> None:
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    change(manifest)
    path.write_text(json.dumps(manifest), encoding="utf-8")


def _tampered(bundle: Path) -> None:
    with (bundle / "classifier.onnx").open("r+b") as file:
        file.seek(1000)
        file.write(b"tampered")


def _cut_short(bundle: Path) -> None:
    content = (bundle / "classifier.onnx").read_bytes()
    (bundle / "classifier.onnx").write_bytes(content[: len(content) // 2])


def _half_a_manifest(bundle: Path) -> None:
    content = (bundle / "manifest.json").read_bytes()
    (bundle / "manifest.json").write_bytes(content[: len(content) // 2])


class _Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.mark,)  # type: ignore[return-value]


def _pickled(bundle: Path) -> None:
    content = pickle.dumps(_Payload(bundle / "unpickled"))
    (bundle / "classifier.onnx").write_bytes(content)
    _change(bundle, lambda m: m["files"].update({"classifier.onnx": sha256_of(content)}))


def _unknown_encoder(bundle: Path) -> None:
    _change(bundle, lambda m: m["encoder"].update(sha256="0" * 64))


def _without_high(bundle: Path) -> None:
    def rename(manifest: dict) -> None:
        manifest["arms"][-1].update(name="other", tier="other")

    _change(bundle, rename)


BAD: dict[str, Callable[[Path], None]] = {
    "tampered": _tampered,
    "cut short": _cut_short,
    "half a manifest": _half_a_manifest,
    "pickled": _pickled,
    "unknown encoder": _unknown_encoder,
    "an arm missing": _without_high,
}


def bad_bundle(kind: str, folder: Path, source: Path = DEFAULT_BUNDLE) -> Path:
    """Make a bundle that must be refused.

    Args:
        kind: what is wrong with it, a key of :data:`BAD`.
        folder: where to make it.
        source: the bundle to spoil a copy of.
    """
    target = folder / f"bad-{kind.replace(' ', '-')}"
    shutil.copytree(source, target)
    BAD[kind](target)
    return target


# ── load ──────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Callers:
    """Threads that send requests without pause and without retries, from enter to exit.

    Attributes:
        address: of the server.
        count: of threads.
        answered: requests answered so far.
        failed: errors so far.
        versions: bundle versions seen in replies.
        mixed: replies that rest on two versions, as ``is_mixed`` finds them.
        is_mixed: judges a reply.
    """

    address: str
    count: int = CALLERS
    answered: int = 0
    failed: list[CallFailed] = field(default_factory=list)
    versions: set[str] = field(default_factory=set)
    mixed: list[Decision] = field(default_factory=list)
    is_mixed: Callable[[Decision], bool] = lambda _: False

    def __enter__(self) -> Callers:
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._call, args=(place,)) for place in range(self.count)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(WAIT_S)

    def _call(self, place: int) -> None:
        with Router(self.address, timeout_s=WAIT_S, attempts=1) as client:
            while not self._stop.is_set():
                try:
                    decision = client.route(PROMPTS[place % len(PROMPTS)])
                except CallFailed as error:
                    with self._lock:
                        self.failed.append(error)
                    continue
                with self._lock:
                    self.answered += 1
                    self.versions.add(decision.bundle)
                    if self.is_mixed(decision):
                        self.mixed.append(decision)


# ── swapping ──────────────────────────────────────────────────────────────────────────────────────


class Swapper:
    """Moves the link that a running server reads its bundle from, and observes what the server does.

    Args:
        link: the link.
        log: the server's log.
        address: of the server.
        process: the server.
    """

    def __init__(self, link: Path, log: Path, address: str, process: subprocess.Popen[str]) -> None:
        self._link, self._log, self._process = link, log, process
        self._client = Router(address, timeout_s=WAIT_S, attempts=1)

    def point(self, bundle: Path) -> None:
        """Move the link atomically and signal the server."""
        scratch = self._link.with_suffix(".new")
        scratch.symlink_to(bundle, target_is_directory=True)
        scratch.replace(self._link)
        self._process.send_signal(signal.SIGHUP)

    def version(self) -> str:
        """The version of the bundle that answers now."""
        return self._client.route("Which bundle are you?").bundle

    def refusals(self) -> int:
        """The number of refusals in the log."""
        return self._log.read_text(encoding="utf-8").count('"event": "bundle_refused"')

    def swapped(self, bundle: Path, version: str) -> bool:
        """Swap to a bundle and return whether it serves now."""
        self.point(bundle)
        return waited(lambda: self.version() == version)

    def refused(self, bundle: Path) -> bool:
        """Offer a bad bundle and return whether it was refused while the previous one kept serving."""
        before, count = self.version(), self.refusals()
        self.point(bundle)
        return waited(lambda: self.refusals() > count) and self.version() == before

    def close(self) -> None:
        self._client.close()


def waited(done: Callable[[], bool]) -> bool:
    """Whether a condition holds within minutes."""
    until = time.monotonic() + WAIT_S
    while not done():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


@contextmanager
def swapping(folder: Path, first: Path) -> Iterator[tuple[Swapper, str, subprocess.Popen[str]]]:
    """Run a server on a link to ``first``; yields a swapper, the address and the process."""
    link, log = folder / "current", folder / "log"
    link.symlink_to(first, target_is_directory=True)
    # Not the memory ledger: it keeps every call, which would look like a leak.
    ledger = f"sqlite:{folder / 'ledger.sqlite'}"
    flags = ("--bundle", str(link), "--reload-every-s", "0", "--ledger", ledger)
    flags += (
        "--queue-wait-s",
        "60",
    )  # every call is to be answered: a refusal would hide a failure
    with log.open("w") as out, serving(*flags, log=out) as (address, process):
        swapper = Swapper(link, log, address, process)
        try:
            yield swapper, address, process
        finally:
            swapper.close()


def _unswapped(folder: Path, bundle: Path, requests: int) -> float:
    """Resident MiB of a server after a number of requests without swaps.

    Args:
        folder: for its files; must not exist.
        bundle: the one that serves.
        requests: how many to wait for.
    """
    folder.mkdir()
    with swapping(folder, bundle) as (_, address, process), Callers(address) as callers:
        waited(lambda: callers.answered >= requests)
        return resident_mib(process.pid, "VmRSS")


def measure(swaps: int = SWAPS) -> Iterator[Figure]:
    """Swap between two bundles under load, and offer a bad bundle before each swap."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        good = [bundle_named(name, folder) for name in ("first", "second")]
        bad = [bad_bundle(kind, folder) for kind in BAD]
        swapped = refused = 0
        with swapping(folder, good[0][0]) as (swapper, address, process):
            with Callers(address) as callers:
                time.sleep(1)
                at_first = resident_mib(process.pid, "VmRSS")
                half = 0.0
                started = time.perf_counter()
                for place in track(range(swaps), description="swapping", transient=True):
                    refused += swapper.refused(bad[place % len(bad)])
                    swapped += swapper.swapped(*good[(place + 1) % 2])
                    if place + 1 == swaps // 2:
                        half = resident_mib(process.pid, "VmRSS")
                seconds = time.perf_counter() - started
                at_last = resident_mib(process.pid, "VmRSS")
            stray = callers.versions - {version for _, version in good}
            baseline = _unswapped(folder / "unswapped", good[0][0], callers.answered)
            unpickled = len(list(folder.glob("*/unpickled")))
    yield Figure("bundles swapped under load", swapped, "swaps", swaps, ">=")
    yield Figure("bad bundles offered in between and refused", refused, "bundles", swaps, ">=")
    yield Figure("requests answered meanwhile", callers.answered, "requests")
    yield Figure(f"failed requests over {swaps} swaps", len(callers.failed), "requests", 0.0)
    yield Figure("replies from a bundle that should not serve", len(stray), "bundles", 0.0)
    yield Figure("pickles that were opened", unpickled, "pickles", 0.0)
    yield Figure("a swap and a refusal, mean under load", seconds / swaps, "s")
    yield Figure("baseline: server resident after as many requests without swaps", baseline, "MiB")
    yield Figure("server resident before", at_first, "MiB")
    yield Figure(f"server resident after {swaps // 2} swaps", half, "MiB")
    yield Figure(f"server resident after {swaps} swaps", at_last, "MiB", 350.0)
    yield Figure(f"what {swaps} swaps add to it", at_last - baseline, "MiB", 64.0)
