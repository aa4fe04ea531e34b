"""The notebooks: committed clean, and executed on the demonstration without a word of complaint."""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from traitlets.config import Config

from training.simulation.workbench import open_workbench

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MACHINE_PATH = re.compile(r"(?<![\w.:/])/(home|Users|root|tmp|work|mnt|opt)/|[A-Z]:\\\\")
WAIT_S = 1200


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=nbformat.NO_CONVERT)


def test_there_are_four_in_order() -> None:
    assert [path.name[:3] for path in NOTEBOOKS] == ["01-", "02-", "03-", "04-"]
    told = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in NOTEBOOKS if path.name not in told] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_clean(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
        assert cell.metadata == {}
    assert MACHINE_PATH.search(path.read_text(encoding="utf-8")) is None


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One bundle for all notebooks and all workers, so that it is trained once."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "notebooks"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch, (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        patch.setattr("training.simulation.workbench.BUILD", folder)
        bench = open_workbench({})
        assert bench.bundle.manifest.demonstration
    return bench.directory


@pytest.fixture
def sockets() -> Iterator[Path]:
    """Where the kernel's sockets lie: the name of one may be about a hundred bytes long, no more."""
    with tempfile.TemporaryDirectory(prefix="nb-") as folder:
        yield Path(folder)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_on_the_demonstration(
    path: Path, bundle: Path, sockets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HISTORY", "ARMS", "PRICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BUNDLE", str(bundle))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(sockets))
    notebook = read(path)
    # Sockets that are files: no port, so no other program can be met or listen.
    config = Config({"KernelManager": {"transport": "ipc", "ip": str(sockets / "kernel")}})
    NotebookClient(
        notebook,
        timeout=WAIT_S,
        config=config,
        resources={"metadata": {"path": str(path.parent)}},
    ).execute()
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    assert [out.text for out in outputs if out.output_type == "stream"] == []
    assert sum("image/png" in out.get("data", {}) for out in outputs) >= 2
    words = " ".join(str(out.get("data", {}).get("text/markdown", "")) for out in outputs)
    assert "made up" in words.lower().replace("-", " ")
    # Two dollar signs in a paragraph would be set as a formula, with raw Markdown between them.
    prose = re.sub(r"```.*?```", "", words, flags=re.DOTALL)
    assert "$" not in prose
    if path.stem.startswith("03"):
        assert "**Caution.** This goal was chosen on" in prose
