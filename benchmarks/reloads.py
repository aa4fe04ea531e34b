"""Swaps bundle, catalog and settings in turn under load: no call may fail, and none may mix two versions."""

from __future__ import annotations

import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from rich.progress import track

from benchmarks.report import Figure
from benchmarks.serving import resident_mib
from benchmarks.swaps import WAIT_S, Callers, bundle_named, waited
from mitsumori import Admin, Decision
from mitsumori.v1 import admin_pb2
from router.cli.demo import serving

SWAPS = 200
SHIPPED = Path(__file__).parents[1] / "router" / "catalog" / "catalog.yaml"

# What tells two versions apart in a reply: seconds to the first token of every model in the catalog, and by
# how much a hold outlives its quote in the settings.
FIRST_TOKEN_S = (1.0, 100.0)
QUOTE_TTL_S, HOLD_TTL_S = (300, 400), (600, 1000)


def catalog_named(place: int, folder: Path) -> Path:
    """Write one of two catalogs: the shipped one, with other speeds.

    Args:
        place: 0 or 1.
        folder: where to write it.
    """
    content = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    for model in content["models"]:
        model["speed"] = {"first_token_s": FIRST_TOKEN_S[place], "output_tokens_per_s": 1e6}
    path = folder / f"catalog-{place}.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def settings_named(place: int, folder: Path) -> Path:
    """Write one of two files of settings.

    Args:
        place: 0 or 1.
        folder: where to write it.
    """
    path = folder / f"settings-{place}.yaml"
    path.write_text(
        f"quote_ttl_s: {QUOTE_TTL_S[place]}\nhold_ttl_s: {HOLD_TTL_S[place]}\n", encoding="utf-8"
    )
    return path


class Mixture:
    """Tells replies that rest on two versions. It learns which version of a file shows which sign."""

    def __init__(self) -> None:
        self.catalogs: dict[str, int] = {}
        self.settings: dict[str, int] = {}

    def found(self, decision: Decision) -> bool:
        """Whether a reply's signs differ from each other, or from what its versions showed before."""
        message, options = decision.message, (decision.chosen, *decision.alternatives)
        slow = {int(option.quote.latency.p50_s >= FIRST_TOKEN_S[1]) for option in options}
        tables = {option.quote.price_table.rpartition(" ")[2] for option in options}
        if len(slow) != 1 or tables != {message.catalog_version} or decision.hold is None:
            return True
        beyond = (decision.hold.expires - decision.quote.expires).total_seconds()
        sign = int(beyond > HOLD_TTL_S[0] - QUOTE_TTL_S[0])
        if round(beyond) != HOLD_TTL_S[sign] - QUOTE_TTL_S[sign]:
            return True
        (is_slow,) = slow
        return (
            self.catalogs.setdefault(message.catalog_version, is_slow) != is_slow
            or self.settings.setdefault(message.settings_version, sign) != sign
        )


@dataclass(frozen=True, slots=True)
class Links:
    """Links that a running server reads its inputs from, and what it says of them.

    Attributes:
        folder: of the links, named as the inputs are.
        process: the server.
        admin: a client of it.
    """

    folder: Path
    process: subprocess.Popen[str]
    admin: Admin

    def point(self, name: str, target: Path) -> None:
        """Move a link atomically, and signal the server."""
        scratch = self.folder / f"{name}.new"
        scratch.symlink_to(target)
        scratch.replace(self.folder / name)
        self.process.send_signal(signal.SIGHUP)

    def input(self, name: str) -> admin_pb2.ServedInput:
        """An input as the server serves from it."""
        return next(each for each in self.admin.inputs() if each.name == name)

    def swapped(self, name: str, target: Path) -> bool:
        """Move a link, and return whether the server follows it."""
        before = self.input(name).version
        self.point(name, target)
        return waited(lambda: self.input(name).version != before)


@contextmanager
def reloading(folder: Path, bundle: Path, log: Path) -> Iterator[tuple[Links, str]]:
    """Run a server on links to a bundle, a catalog and settings; yields the links and the address.

    Args:
        folder: for the links; must exist.
        bundle: to begin with.
        log: gets the server's log.
    """
    firsts = {
        "bundle": bundle, "catalog": catalog_named(0, folder), "settings": settings_named(0, folder)
    }  # fmt: skip
    for name, target in firsts.items():
        (folder / name).symlink_to(target)
    flags = ["--bundle", str(folder / "bundle"), "--catalog", str(folder / "catalog")]
    flags += ["--config", str(folder / "settings"), "--reload-every-s", "0"]
    flags += ["--ledger", f"sqlite:{folder / 'ledger.sqlite'}"]
    with (
        log.open("w") as out,
        serving(*flags, log=out) as (address, process),
        Admin(address, timeout_s=WAIT_S) as admin,
    ):
        yield Links(folder, process, admin), address


def swap_in_turn(links: Links, bundles: list[Path], swaps: int) -> Iterator[tuple[str, bool]]:
    """Swap bundle, catalog and settings in turn; yields each input's name, and whether the swap worked.

    Args:
        links: of the server.
        bundles: two of them, the first of which serves.
        swaps: of each input.
    """
    targets = {
        "bundle": bundles,
        "catalog": [catalog_named(place, links.folder) for place in (0, 1)],
        "settings": [settings_named(place, links.folder) for place in (0, 1)],
    }
    for number in range(swaps):
        for name, both in targets.items():
            yield name, links.swapped(name, both[(number + 1) % 2])


def measure(swaps: int = SWAPS) -> Iterator[Figure]:
    """Swap bundle, catalog and settings in turn, under load."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        bundles = [bundle_named(name, folder)[0] for name in ("first", "second")]
        done = {"bundle": 0, "catalog": 0, "settings": 0}
        mixture = Mixture()
        with (
            reloading(folder, bundles[0], folder / "log") as (links, address),
            Callers(address, is_mixed=mixture.found) as callers,
        ):
            at_first = resident_mib(links.process.pid, "VmRSS")
            half, started = 0.0, time.perf_counter()
            turns = swap_in_turn(links, bundles, swaps)
            for name, works in track(turns, "swapping", swaps * len(done), transient=True):
                done[name] += works
                if sum(done.values()) == swaps * len(done) // 2:
                    half = resident_mib(links.process.pid, "VmRSS")
            seconds = time.perf_counter() - started
            at_last = resident_mib(links.process.pid, "VmRSS")
        seen = len(mixture.catalogs), len(mixture.settings)
    for name, count in done.items():
        yield Figure(f"swaps under load: {name}", count, "swaps", swaps, ">=")
    yield Figure("calls answered meanwhile", callers.answered, "calls")
    yield Figure("failed calls", len(callers.failed), "calls", 0.0)
    yield Figure("replies that mix two versions", len(callers.mixed), "replies", 0.0)
    yield Figure("catalogs and settings seen in replies", sum(seen), "versions", 4.0, ">=")
    yield Figure("server resident before", at_first, "MiB")
    yield Figure("server resident after half of the swaps", half, "MiB")
    yield Figure("what the other half adds", at_last - half, "MiB", 32.0)
    yield Figure("a swap, mean under load", seconds / (swaps * len(done)), "s")
