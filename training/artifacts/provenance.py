"""Provenance of a result: the time, the command, the version of the code and the git commit."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["code_version", "command_line", "git_commit", "time_and_commit"]

_PASSWORD = re.compile(r"(?<=://)[^/@\s]*@")


def git_commit() -> str | None:
    """The commit of the working directory, ``None`` outside a repository."""
    git = shutil.which("git")
    if git is None:
        return None
    try:
        answer = subprocess.run(  # noqa: S603 -- a fixed command
            [git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None


def code_version() -> str:
    """The version of the package, with the commit where there is one: ``0.1.0 (git 1a2b3c4d5e6f)``."""
    try:
        installed = version("mitsumori")
    except PackageNotFoundError:
        installed = "not installed"
    commit = git_commit()
    return installed if commit is None else f"{installed} (git {commit[:12]})"


def command_line() -> str:
    """The command of this process, to be run again; a password in an address is left out."""
    program, *words = sys.argv
    path = Path(program)
    ours = path.name == "training" or (
        path.name == "__main__.py" and path.parent.name == "training"
    )
    # What runs our code otherwise, such as a notebook, has arguments that mean nothing here.
    command = shlex.join(["python", "-m", "training", *words]) if ours else path.name
    return _PASSWORD.sub("", command)


def time_and_commit() -> str:
    """The present moment in UTC and the commit, as pages show them."""
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, git commit {(git_commit() or '–')[:12]}"
