"""Provenance of a result: the time and the git commit."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime

__all__ = ["git_commit", "time_and_commit"]


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


def time_and_commit() -> str:
    """The present moment in UTC and the commit, as pages show them."""
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, git commit {(git_commit() or '–')[:12]}"
