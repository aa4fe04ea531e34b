"""Tests run in a child process, so that every mutant meets freshly imported modules.

The parent imports what others wrote (numpy, hypothesis …) once and nothing of ours. A child is a fork of it:
it imports our modules, one of them with the fault, runs the tests, and ends. Nothing is written to the
working tree. Properties draw the same examples every time, and are not shrunk.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import select
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_loader
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

__all__ = ["Recording", "Test", "noticed", "record", "warm"]

OURS = ("router", "training", "tests", "benchmarks", "mitsumori")
NEVER_PRELOADED = ("grpc", "google", "mlflow", "ray")
"""Not fit for a fork, or heavy and not needed."""
MEMORY = 16 << 30
Place = tuple[str, int]
"""A file, and the first line of a function in it."""


@dataclass
class Test:
    """One test: how long it takes, and which functions it calls."""

    __test__ = False
    id: str
    seconds: float = 0.0
    calls: set[Place] = field(default_factory=set)


@dataclass
class Recording:
    """What some tests do on the unchanged code."""

    tests: list[Test]
    broken: list[str]
    imports: list[str]


def record(files: Sequence[str], targets: Sequence[Path], left_out: Sequence[str]) -> Recording:
    """Run tests on the unchanged code, and learn which functions each of them calls.

    Args:
        files: of tests, or folders of them.
        targets: the modules whose functions count, absolute.
        left_out: tests with one of these in their name are not run.
    """
    told = json.loads(_forked(lambda: _recorded(files, targets, left_out), limit_s=1_200) or "{}")
    if not told:
        names = " ".join(files)
        raise SystemExit(f"error: the tests in {names} did not run; try pytest {names}")
    tests = [
        Test(one["id"], one["seconds"], {(file, line) for file, line in one["calls"]})
        for one in told["tests"]
    ]
    return Recording(tests, told["broken"], told["imports"])


def warm(names: Iterable[str]) -> None:
    """Import what the tests need and others wrote, so that children find it there."""
    for name in names:
        if name not in sys.modules:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    importlib.import_module(name)
                except Exception:  # noqa: BLE001 — a child will import it, or not need it
                    continue


def noticed(module: str, path: Path, code: CodeType, tests: Sequence[str], limit_s: float) -> bool:
    """Whether one of the tests fails on the mutant; running out of time is failing.

    Args:
        module: name of the changed module.
        path: of its source.
        code: compiled, with the fault.
        tests: ids, in the order in which they are to run.
        limit_s: seconds.
    """

    def run() -> str:
        sys.meta_path.insert(0, _Changed(module, path, code))
        files = list(dict.fromkeys(each.partition("::")[0] for each in tests))
        return str(_pytest([*files, "-x"], _Chosen(tests)))

    return _forked(run, limit_s) != "0"


class _Changed(MetaPathFinder):
    """Finds one module as a mutant."""

    def __init__(self, module: str, path: Path, code: CodeType) -> None:
        self._module, self._loader = module, _Loader(module, path, code)

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        return spec_from_loader(fullname, self._loader) if fullname == self._module else None


class _Loader(SourceFileLoader):
    def __init__(self, module: str, path: Path, code: CodeType) -> None:
        super().__init__(module, str(path))
        self._code = code

    def get_code(self, fullname: str) -> CodeType:
        return self._code


class _Chosen:
    """Runs the named tests alone, in the order given."""

    def __init__(self, tests: Sequence[str]) -> None:
        self._order = {name: place for place, name in enumerate(tests)}

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = sorted(
            (item for item in items if item.nodeid in self._order),
            key=lambda item: self._order[item.nodeid],
        )


class _Recorder:
    """Notes the calls of every test; what is called while a file is imported counts for all its tests."""

    def __init__(self, targets: Sequence[Path], left_out: Sequence[str]) -> None:
        self._files = {str(path) for path in targets}
        self._left_out = left_out
        self._now: set[Place] = set()
        self._at_import: dict[str, set[Place]] = {}
        self.tests: dict[str, Test] = {}
        self.broken: list[str] = []

    def trace(self, frame: FrameType, event: str, arg: object) -> None:
        code = frame.f_code
        if code.co_filename in self._files:
            self._now.add((code.co_filename, code.co_firstlineno))

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = [
            item for item in items if not any(name in item.nodeid for name in self._left_out)
        ]

    @pytest.hookimpl(hookwrapper=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> Any:
        self._now = self._at_import.setdefault(collector.nodeid.partition("::")[0], set())
        yield

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        for name in list(sys.modules):
            if name.startswith(OURS):
                _forget(sys.modules[name])
        file = item.nodeid.partition("::")[0]
        test = self.tests[item.nodeid] = Test(item.nodeid, 0.0, set(self._at_import.get(file, ())))
        self._now = test.calls
        yield

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.tests[report.nodeid].seconds += report.duration
        if report.outcome != "passed":
            self.broken.append(report.nodeid)


def _forget(module: Any) -> None:
    """Empty the caches of a module, or only the first test would be seen to call what they hold."""
    for value in list(vars(module).values()):
        clear = getattr(value, "cache_clear", None)
        if callable(clear) and getattr(value, "__module__", "") == module.__name__:
            clear()


def _recorded(files: Sequence[str], targets: Sequence[Path], left_out: Sequence[str]) -> str:
    recorder = _Recorder(targets, left_out)
    threading.settrace(recorder.trace)  # type: ignore[arg-type]
    sys.settrace(recorder.trace)  # type: ignore[arg-type]
    _pytest(files, recorder)
    sys.settrace(None)
    imports = [
        name
        for name in list(sys.modules)
        if not name.startswith((*OURS, *NEVER_PRELOADED, "conftest"))
    ]
    broken = set(recorder.broken)
    tests = [
        {"id": test.id, "seconds": test.seconds, "calls": sorted(test.calls)}
        for test in recorder.tests.values()
        if test.id not in broken
    ]
    return json.dumps({"tests": tests, "broken": sorted(broken), "imports": imports})


def _pytest(arguments: Sequence[str], plugin: object) -> int:
    settings.register_profile(
        "mutants",
        database=None,
        deadline=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile("mutants")
    folder = Path(arguments[0])
    options = ["-q", "-p", "no:cacheprovider", "-m", "not encoder and not histories",
               "-W", "ignore::pytest.PytestAssertRewriteWarning",
               "--confcutdir", str(folder if folder.is_dir() else folder.parent)]  # fmt: skip
    return int(pytest.main([*options, *arguments], plugins=[plugin]))


def _forked(work: Callable[[], str], limit_s: float) -> str | None:
    """What some work says, done in a child process; ``None`` where it dies or takes too long."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        os.setsid()
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(nowhere, stream)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        try:
            with os.fdopen(theirs, "w") as pipe:
                pipe.write(work())
        finally:
            os._exit(0)
    os.close(theirs)
    said, until = b"", time.monotonic() + limit_s
    while select.select([ours], [], [], max(until - time.monotonic(), 0))[0]:
        part = os.read(ours, 1 << 16)
        if not part:
            break
        said += part
    os.close(ours)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return said.decode() or None
