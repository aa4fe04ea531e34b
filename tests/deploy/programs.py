"""The programs of others that read what ``deploy/`` holds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

__all__ = ["program", "run"]


def program(name: str, *, needed: bool = True) -> str:
    """The path of a program: of this environment, or of the system.

    Args:
        name: of the program.
        needed: it comes with the extra [deploy]; otherwise the test is skipped where it is missing.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    found = shutil.which(name, path=path)
    if found is None and not needed:
        pytest.skip(f"{name} is not installed")
    assert found, f"{name} is missing: pip install '.[deploy]'"
    return found


def run(*words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and keep what it prints, whatever its exit code."""
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
