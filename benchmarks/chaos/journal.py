"""The replies that callers received. A line is on disk before its caller continues: it is an acknowledgement.

Only received replies are written: a server that committed and died before it replied has acknowledged
nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from google.protobuf.message import Message

__all__ = [
    "Acknowledgement",
    "Begun",
    "Decided",
    "Ended",
    "Journal",
    "Refused",
    "Released",
    "Settled",
    "Unexpected",
    "digest",
    "read",
]


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision with its hold: nano-dollars and tokens. ``reply`` is the digest of the whole answer.

    ``replaces`` is the decision that a re-route released. ``again``: the caller had sent it before on
    purpose. ``task`` is that of a turn; empty: none.
    """

    id: str
    tenant: str
    held: int
    tokens: int
    reply: str
    replaces: str | None = None
    again: bool = False
    task: str = ""


@dataclass(frozen=True, slots=True)
class Begun:
    """A task with its cap in nano-dollars; ``reply`` and ``again`` as in :class:`Decided`."""

    id: str
    tenant: str
    cap: int
    reply: str
    again: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a task; ``now`` is false if it was over already."""

    id: str
    now: bool
    again: bool = False


@dataclass(frozen=True, slots=True)
class Settled:
    """A settlement: nano-dollars booked, those beyond the hold, and tokens, as the caller reported them.

    ``repeated``: the server answered that it already had this report. ``again`` as in :class:`Decided`.
    """

    id: str
    spent: int
    overage: int
    tokens: int
    late: bool
    repeated: bool
    again: bool = False


@dataclass(frozen=True, slots=True)
class Released:
    """A released hold; ``now`` is false if it was already released."""

    id: str
    now: bool
    again: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal that the protocol defines. ``provoked``: the caller cheated, and expected it."""

    id: str
    call: str
    reason: str
    provoked: bool = False


@dataclass(frozen=True, slots=True)
class Unexpected:
    """An answer that no caller should get, or none at all."""

    id: str
    call: str
    what: str


Acknowledgement = Decided | Settled | Released | Begun | Ended | Refused | Unexpected
"""A line of a journal: what a caller received for one call."""
_KINDS = {
    kind.__name__: kind for kind in (Decided, Settled, Released, Begun, Ended, Refused, Unexpected)
}


class Journal:
    """The file of one caller.

    Args:
        path: appended to; made where there is none.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._file)

    def write(self, acknowledgement: Acknowledgement) -> None:
        """Write a line, and return once it is on disk."""
        values = {"kind": type(acknowledgement).__name__, **asdict(acknowledgement)}
        line = json.dumps(values, separators=(",", ":"))
        os.write(self._file, f"{line}\n".encode())
        os.fsync(self._file)


def read(folder: Path) -> Iterator[Acknowledgement]:
    """All lines of all journals of a folder; a line that is still being written is left out."""
    for path in sorted(folder.glob("*.jsonl")):
        whole, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
        for line in whole.splitlines():
            values = json.loads(line)
            yield _KINDS[values.pop("kind")](**values)


def digest(reply: Message) -> str:
    """What stands for a whole reply; the same for the same values, whatever the order of its maps."""
    return hashlib.sha256(reply.SerializeToString(deterministic=True)).hexdigest()[:32]
