"""The journal of a run: every call before it is sent, and every outcome, on disk before the run goes on.

JSON lines, each written whole and synced. The first describes the run. A call that was under way when the run
was killed has a line that it was sent and none of its outcome: it may have been billed, so the next run books
its worst case. A line that was half written is dropped. The money spent is the sum over the lines; an outcome
that is there twice counts once. Whatever no run writes is damage, and named by its line.
"""

from __future__ import annotations

import fcntl
import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from router.core.errors import InvalidInput, MitsumoriError, NotPossible
from training.calls.journal_lines import VERSION, Damage, OtherVersion, read_line

__all__ = ["Answered", "Failed", "Journal", "journal_path", "open_journal"]


def journal_path(out: Path) -> Path:
    """Where the journal of a run lies: beside what it writes."""
    return out.with_name(f"{out.name}.journal")


@dataclass(frozen=True, slots=True)
class Answered:
    """A call that brought an answer.

    Attributes:
        key: of the call.
        about: what the run wants to remember of it, such as the prompt: texts by name.
        text: the visible answer, never empty.
        finish: why it ended: ``stop``, ``length`` …, as :class:`training.calls.reply.Reply` has it.
        input_tokens: reported, else counted.
        output_tokens: likewise, hidden reasoning included.
        reasoning_tokens: reported; ``None``: not.
        cost: nano-dollars, of these tokens.
        booked: nano-dollars, the most that the provider may bill, ``cost`` or more.
        doubts: why the report of usage was not believed; empty: it was.
        latency_s: from sending to the last token, seconds.
        timestamp: of sending, ISO 8601.
        tries: sent requests, this one included.
    """

    key: str
    about: Mapping[str, Any]
    text: str
    finish: str
    input_tokens: int
    output_tokens: int
    reasoning_tokens: int | None
    cost: int
    booked: int
    doubts: tuple[str, ...]
    latency_s: float
    timestamp: str
    tries: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A request that brought no answer.

    Attributes:
        key: of the call.
        about: as for :class:`Answered`.
        kind: stable name of the failure, such as ``rate_limited``.
        detail: for people, without any text of prompts or answers.
        input_tokens: that may have been billed; 0 where nothing was.
        output_tokens: likewise, as far as they were seen.
        booked: nano-dollars, the most that the provider may bill.
        timestamp: of sending, ISO 8601.
        tries: sent requests, this one included.
        final: the call is given up; otherwise it is tried again.
        passing: what made it fail may be gone when a later run asks again, such as an outage.
    """

    key: str
    about: Mapping[str, Any]
    kind: str
    detail: str
    input_tokens: int
    output_tokens: int
    booked: int
    timestamp: str
    tries: int
    final: bool
    passing: bool


Outcome = Answered | Failed


@dataclass
class _State:
    """What the lines say together."""

    about: Sequence[str] = ()
    run: str = ""
    spent: int = 0
    lost: int = 0
    replaced: int = 0
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    requests: dict[tuple[str, int], Outcome] = field(default_factory=dict)
    tries: dict[str, int] = field(default_factory=dict)
    paid: dict[str, int] = field(default_factory=dict)
    open: dict[str, int] = field(default_factory=dict)

    def add(self, content: bytes) -> None:
        """Take a line in.

        Raises:
            Damage: it is none that a run writes here.
        """
        event, line = read_line(content, self.about)
        if (event == "run") == bool(self.run):
            raise Damage("event")
        match event:
            case "run":
                self.run = line["id"]
            case "sent":
                self._open(line["key"], line["held"])
            case "lost":
                self._lose(line["key"], line["booked"])
            case "again":
                self._ask_again(line["key"], line["tries"])
            case "answered":
                self._conclude(Answered(**{**line, "doubts": tuple(line["doubts"])}))
            case _:
                self._conclude(Failed(**line))

    def _open(self, key: str, held: int) -> None:
        if not isinstance(self.outcomes.get(key), Answered):  # what is answered is not sent again
            self.open[key] = held

    def _lose(self, key: str, booked: int) -> None:
        if key not in self.open:  # it is there twice
            return
        if self.open[key] != booked:
            raise Damage("booked is not what was held")
        self._close(key, booked)
        self.lost += 1

    def _ask_again(self, key: str, tries: int) -> None:
        if not isinstance(self.requests.get((key, tries)), Answered):
            raise Damage("tries of no answer")
        found = self.outcomes.get(key)
        if isinstance(found, Answered) and found.tries == tries:  # else it is there twice
            del self.outcomes[key]
            self.replaced += found.booked

    def _close(self, key: str, booked: int) -> None:
        self.open.pop(key, None)
        self.spent += booked
        self.paid[key] = self.paid.get(key, 0) + booked

    def _conclude(self, outcome: Outcome) -> None:
        known = self.requests.setdefault((outcome.key, outcome.tries), outcome)
        if known is not outcome:
            if known != outcome:
                raise Damage("another outcome of the same request is in an earlier line")
            self.open.pop(outcome.key, None)
            return
        self._close(outcome.key, outcome.booked)
        self.tries[outcome.key] = outcome.tries
        if isinstance(outcome, Answered) or outcome.final:
            self.outcomes[outcome.key] = outcome


class Journal:
    """An open journal, locked against other processes. One event loop uses it."""

    def __init__(self, path: Path, file: int, state: _State) -> None:
        """``file`` is open for appending; use :func:`open_journal`."""
        self.path = path
        self._file = file
        self._state = state

    @property
    def run(self) -> str:
        """A random name of the run, the same after a restart."""
        return self._state.run

    @property
    def spent(self) -> int:
        """Nano-dollars booked by all runs so far."""
        return self._state.spent

    @property
    def lost(self) -> int:
        """Calls that were under way when a run was killed."""
        return self._state.lost

    @property
    def outcomes(self) -> Mapping[str, Outcome]:
        """The answers and the calls given up, by key, in the order of the journal."""
        return self._state.outcomes

    def tries(self, key: str) -> int:
        """Requests of a call whose outcome is known."""
        return self._state.tries.get(key, 0)

    def booked(self, key: str) -> int:
        """Nano-dollars booked for all requests of a call."""
        return self._state.paid.get(key, 0)

    def known(self, key: str) -> Outcome | None:
        """The outcome of a call that is not sent again: an answer, or a failure.

        A call is sent again that failed without cost, for a reason that may have passed.
        """
        found = self._state.outcomes.get(key)
        if isinstance(found, Failed) and found.passing and not self._state.paid.get(key):
            return None
        return found

    def forget_failures(self) -> None:
        """Have this run ask again what earlier ones gave up, whatever it may have cost."""
        given_up = [key for key, one in self._state.outcomes.items() if isinstance(one, Failed)]
        for key in given_up:
            del self._state.outcomes[key]

    @property
    def replaced(self) -> int:
        """Nano-dollars booked for answers that were given up for new ones; a part of :attr:`spent`."""
        return self._state.replaced

    def ask_again(self, key: str) -> None:
        """Give up an answer, so that this run and later ones ask for a new one. It stays paid for."""
        found = self._state.outcomes[key]
        self._append({"event": "again", "key": key, "tries": found.tries})

    def sent(self, key: str, held: int) -> None:
        """Note that a call is about to be sent, with the hold of its worst case, nano-dollars."""
        self._append({"event": "sent", "key": key, "held": held})

    def conclude(self, outcome: Outcome) -> None:
        """Note the outcome of a request."""
        event = "answered" if isinstance(outcome, Answered) else "failed"
        self._append({"event": event, **asdict(outcome)})

    def book_lost(self) -> int:
        """Book the worst case of the calls that were under way when a run was killed; how many there are."""
        lost = list(self._state.open.items())
        for key, held in lost:
            self._append({"event": "lost", "key": key, "booked": held})
        return len(lost)

    def _append(self, line: Mapping[str, Any]) -> None:
        content = json.dumps(line, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
        self._state.add(content)  # first: what could not be read again is not written
        _write(self.path, self._file, content + b"\n")


def _write(path: Path, file: int, content: bytes) -> None:
    try:
        while content:
            content = content[os.write(file, content) :]
        os.fsync(file)
    except OSError as error:
        raise MitsumoriError(
            f"{path} cannot be written ({error.strerror}); make room and start the same command again: it "
            "goes on where it stopped",
            reason="NOT_WRITABLE",
            field="out",
        ) from None


def _damaged(path: Path, number: int, why: Damage) -> InvalidInput:
    return InvalidInput(
        f"{path}, line {number}: is damaged ({why}); restore the file, or name another --out to start anew",
        reason="JOURNAL_DAMAGED",
        field=str(path),
    )


def _state_of(
    path: Path, content: bytes, purpose: Mapping[str, Any], about: Sequence[str]
) -> _State:
    state = _State(about)
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        try:
            if number == 1:
                _check_purpose(path, _first(line), purpose)
            state.add(line)
        except OtherVersion:
            raise InvalidInput(
                f"{path} was written by another release; name another --out to start anew",
                reason="JOURNAL_VERSION",
                field=str(path),
            ) from None
        except Damage as why:
            raise _damaged(path, number, why) from None
    return state


def _first(line: bytes) -> Mapping[str, Any]:
    event, first = read_line(line)
    if event != "run":
        raise Damage("the first line is that of a run")
    return first


def _check_purpose(path: Path, first: Mapping[str, Any], purpose: Mapping[str, Any]) -> None:
    kept = first["purpose"]
    differing = [name for name in {**kept, **purpose} if kept.get(name) != purpose.get(name)]
    if differing:
        name = differing[0]
        raise InvalidInput(
            f"{path} is of a run with {name} {kept.get(name)!r}, not {purpose.get(name)!r}; use the same "
            "again, or name another --out to start anew",
            reason="JOURNAL_DIFFERS",
            field=str(path),
        )


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # It holds answers: for the user alone.
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        raise MitsumoriError(
            f"{path} cannot be written ({error.strerror}); name another file with --out",
            reason="NOT_WRITABLE",
            field="out",
        ) from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise NotPossible(
            f"{path} is in use by another run; wait until it has ended, or name another --out",
            reason="JOURNAL_IN_USE",
            field="out",
        ) from None
    return file


@contextmanager
def open_journal(
    path: Path, purpose: Mapping[str, Any], *, about: Sequence[str] = ()
) -> Iterator[Journal]:
    """Open a journal, or begin one.

    Args:
        path: the file.
        purpose: what must be the same in every run of it, texts and whole numbers by name.
        about: names of texts that every call keeps in its ``about``.

    Raises:
        InvalidInput: the file is damaged before its last line, or of another purpose.
        NotPossible: another process has it open.
        MitsumoriError: it cannot be written.
    """
    file = _open(path)
    try:
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole.count(b"\n") == 1:
            whole = b""  # nothing was asked: it may begin anew, with another purpose
        if len(whole) < len(content):
            os.ftruncate(file, len(whole))
        if not whole:
            run = {"event": "run", "version": VERSION, "id": uuid.uuid4().hex, "purpose": purpose}
            whole = (json.dumps(run, ensure_ascii=False) + "\n").encode()
            _write(path, file, whole)
        yield Journal(path, file, _state_of(path, whole, purpose, about))
    finally:
        os.close(file)
