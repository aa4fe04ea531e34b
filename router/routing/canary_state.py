"""What a canary must not forget over a restart: that it was halted, and what was counted."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from router.core.errors import BadArtifact, Unavailable
from router.files import read_bounded, replace_text

__all__ = ["CanaryFile", "CanaryMemory", "CanaryState"]

_MAX_BYTES = 1 << 20


class CanaryState(Protocol):
    """Texts by key, which every process of a service shares. Used from any thread.

    Its methods raise ``Unavailable`` where it cannot be reached, and ``BadArtifact`` where it is damaged.
    """

    def read(self) -> Mapping[str, str]:
        """Every row."""
        ...

    def write(self, rows: Mapping[str, str], keep: tuple[str, ...]) -> None:
        """Add or replace rows; others stay only where their key begins with one of ``keep``."""
        ...


class CanaryMemory:
    """Keeps it as long as the process lives."""

    def __init__(self) -> None:
        self._rows: dict[str, str] = {}

    def read(self) -> Mapping[str, str]:
        """See :meth:`CanaryState.read`."""
        return self._rows

    def write(self, rows: Mapping[str, str], keep: tuple[str, ...]) -> None:
        """See :meth:`CanaryState.write`."""
        self._rows = {
            **{key: value for key, value in self._rows.items() if key.startswith(keep)},
            **rows,
        }


class CanaryFile:
    """Keeps it in a small file, such as one beside a ledger. Processes of one machine take turns.

    Args:
        path: of the file; its directory must exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Mapping[str, str]:
        """See :meth:`CanaryState.read`."""
        try:
            rows = json.loads(read_bounded(self._path, _MAX_BYTES))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._unreachable(error) from None
        except (ValueError, RecursionError):
            raise self._damaged() from None
        if not isinstance(rows, dict) or not all(isinstance(each, str) for each in rows.values()):
            raise self._damaged()
        return rows

    def write(self, rows: Mapping[str, str], keep: tuple[str, ...]) -> None:
        """See :meth:`CanaryState.write`."""
        try:
            with self._path.with_name(f"{self._path.name}.lock").open("ab") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX)
                kept = {key: value for key, value in self.read().items() if key.startswith(keep)}
                replace_text(self._path, json.dumps({**kept, **rows}, indent=1), mode=0o600)
        except OSError as error:
            raise self._unreachable(error) from None

    def _unreachable(self, error: OSError) -> Unavailable:
        return Unavailable(
            f"the state of the canary, {self._path}, cannot be used ({error.strerror}); let this user "
            "write it",
            reason="CANARY_STATE_UNREACHABLE",
            field="canary",
        )

    def _damaged(self) -> BadArtifact:
        return BadArtifact(
            f"the state of the canary, {self._path}, is damaged; delete it, and change run of the canary's "
            "settings, to count anew",
            reason="CANARY_STATE_DAMAGED",
            field="canary",
        )
