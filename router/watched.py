"""Inputs that may change while the service runs: bundle, catalog, settings, keys and certificates.

All of them follow one course. A source says cheaply which revision it has. A new one is loaded and checked
beside the one in use, and then adopted by one assignment, or refused: the one in use stays, the log says why
once per content, and the status keeps it for operators.
"""

from __future__ import annotations

import errno
import stat
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from router.allocator import release_freed
from router.clock import utc_now
from router.core.errors import MitsumoriError, Unavailable
from router.files import MAX_TEXT_BYTES, read_bounded, sha256_of
from router.logs import logger

__all__ = ["FileSource", "InputSource", "InputStatus", "Refusal", "Revision", "Watched"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Contents = Mapping[Path, bytes]

_REST_S = 0.2
"""Seconds for which files must stay as they are before they are taken."""
_LOOKS = 20
"""How often files that keep changing are looked at in a row."""
_SHORT = 12
"""Hexadecimal digits of a version."""


@dataclass(frozen=True, slots=True)
class Revision:
    """What a source offers at one moment.

    Attributes:
        key: differs whenever the content may differ.
        location: for people: a path or an address.
    """

    key: str
    location: str


class InputSource(Protocol[T_co]):
    """Where an input comes from. Used from one thread at a time.

    Its methods raise ``Unavailable`` where the source does not answer now, and another ``MitsumoriError``
    where what it has cannot be used.
    """

    def find(self) -> Revision:
        """The current revision; cheap enough to call every second."""
        ...

    def settled(self) -> Revision:
        """The revision that is there once the source has stopped changing."""
        ...

    def load(self) -> T_co:
        """The value of the revision that was returned last, checked as far as it can be by itself."""
        ...


class FileSource(Generic[T]):
    """A value made of small files, told apart by their content.

    Files that change are taken only after they were the same twice, with a pause in between: none is taken
    half-written, nor one from before with one from after. What was compared is what is parsed.

    Args:
        paths: the files. One that is a pipe at the start is read once, and not looked at again.
        load: makes the value of their contents; raises ``MitsumoriError``.
        unreadable: the error of a file that cannot be read, from its path and the reason.
        max_bytes: the most that a file may hold, > 0.
        wait: pauses for a number of seconds.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        load: Callable[[Contents], T],
        unreadable: Callable[[Path, str], MitsumoriError],
        *,
        max_bytes: int = MAX_TEXT_BYTES,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._max_bytes = max_bytes
        self._paths, self._load, self._unreadable, self._wait = paths, load, unreadable, wait
        self._location = ", ".join(map(str, paths))
        self._found: tuple[str, Contents] | None = None
        self._has_pipe = False
        self._is_first = True

    def find(self) -> Revision:
        """The current revision, by the SHA-256 of the contents."""
        if self._has_pipe and self._found is not None:
            return Revision(self._found[0], self._location)
        if self._found is None:
            self._found = self._read_or_raise()
            return Revision(self._found[0], self._location)
        try:
            self._found = self._read()
        except OSError:
            # A file that is replaced in two steps is missing for a moment.
            self._wait(_REST_S)
            self._found = self._read_or_raise()
        return Revision(self._found[0], self._location)

    def settled(self) -> Revision:
        """The revision of the files once they rest."""
        assert self._found is not None  # noqa: S101 — ``find`` comes first
        for _ in range(_LOOKS):
            self._wait(_REST_S)
            before, self._found = self._found, self._read_or_raise()
            if before[0] == self._found[0]:
                return Revision(self._found[0], self._location)
        raise Unavailable(
            f"{self._location} keeps changing; write it beside, and rename it in one step",
            reason="INPUT_CHANGING",
        )

    def load(self) -> T:
        """The value of the files as they were read last."""
        assert self._found is not None  # noqa: S101 — ``find`` comes first
        self._is_first = False
        return self._load(self._found[1])

    def _read_or_raise(self) -> tuple[str, Contents]:
        try:
            return self._read()
        except OSError as error:
            path = Path(error.filename) if error.filename else self._paths[0]
            why = error.strerror or type(error).__name__
            raise self._unreadable(path, why) from None

    def _read(self) -> tuple[str, Contents]:
        contents: dict[Path, bytes] = {}
        for path in dict.fromkeys(self._paths):
            try:
                mode = path.stat().st_mode
                is_pipe = not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)
                if is_pipe and not self._is_first:
                    raise OSError(errno.EINVAL, "it is a pipe or a device, not a file")
                self._has_pipe = self._has_pipe or is_pipe
                contents[path] = read_bounded(path, self._max_bytes)
            except OSError as error:
                error.filename = str(path)
                raise
        lengths = " ".join(str(len(content)) for content in contents.values())
        return sha256_of(lengths.encode() + b"\n" + b"".join(contents.values())), contents


@dataclass(frozen=True, slots=True)
class Refusal:
    """What was offered last and not taken.

    Attributes:
        reason: machine-readable.
        text: what is wrong, and the remedy.
        time: when, aware.
    """

    reason: str
    text: str
    time: datetime


@dataclass(frozen=True, slots=True)
class InputStatus:
    """An input as it is now.

    Attributes:
        name: of the input.
        version: of what is in use.
        location: where it comes from.
        since: when it was taken, aware.
        refusal: of what is offered now; ``None``: that is in use.
    """

    name: str
    version: str
    location: str
    since: datetime
    refusal: Refusal | None


def _accept(_value: object) -> None:
    return


class Watched(Generic[T]):
    """An input: what is in use of it, and the change to something new.

    :meth:`current` and :attr:`status` may be used from any thread. :meth:`refresh` may, too; one at a time
    looks.

    Args:
        name: for the log and the status, such as ``catalog``.
        source: where it comes from.
        version: names a value for people; by default the first digits of the revision's key.
        first: a value to begin with where the source has none; ``None``: without one, the source's error is
            raised.
        now: the clock, UTC.

    Raises:
        MitsumoriError: the first value cannot be had.
    """

    def __init__(
        self,
        name: str,
        source: InputSource[T],
        *,
        version: Callable[[T], str] | None = None,
        first: Callable[[MitsumoriError], T] | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._name, self._source, self._now = name, source, now
        self._version_of = version
        self._lock = threading.Lock()
        self._retry = False
        self._loads = 0
        self._refused: str | None = None
        self._said: str | None = None
        self._in_use: str | None = None
        self._location = ""
        refusal: Refusal | None = None
        try:
            found = source.find()
            value = source.load()
        except MitsumoriError as error:
            if first is None:
                raise
            value = first(error)
            version_text = version(value) if version is not None else ""
            refusal = Refusal(error.reason, error.message, now())
        else:
            self._in_use, self._location = found.key, found.location
            version_text = version(value) if version is not None else found.key[:_SHORT]
        self._state = (value, 0)
        self._status = InputStatus(name, version_text, self._location, now(), refusal)

    def current(self) -> tuple[T, int]:
        """The value in use, and how often it has changed."""
        return self._state

    @property
    def status(self) -> InputStatus:
        """What is in use, and what was refused."""
        return self._status

    def retry_refused(self) -> None:
        """Let the next :meth:`refresh` try again what was refused. Safe in a signal handler."""
        self._retry = True

    def look(self) -> None:
        """Take over what has changed, or refuse it; as :meth:`refresh`."""
        self.refresh()

    def reconsider(self) -> None:
        """Let the next :meth:`refresh` try again what was refused, since what it must fit has changed."""
        self._refused = None

    def refresh(self, adopt: Callable[[T], object] = _accept) -> bool:
        """Take the source's current revision if it is new and can be used. Each revision is tried once.

        Args:
            adopt: checks a new value against the others in use, and takes it; raises ``MitsumoriError`` to
                refuse it.

        Returns:
            Whether another value is in use now.

        Raises:
            Unavailable: the source does not answer; the value stays. Call again later.
        """
        with self._lock:
            loads = self._loads
            try:
                return self._refresh(adopt)
            finally:
                # What was replaced or refused is gone now, and with it as much as the input takes.
                if self._loads != loads:
                    release_freed()

    def _refresh(self, adopt: Callable[[T], object]) -> bool:
        retry, self._retry = self._retry, False
        key, location = "", self._location
        try:
            found = self._source.find()
            key, location = found.key, found.location
            if key == self._refused and not retry:
                return False
            if key != self._in_use:
                key = self._source.settled().key
            if key == self._in_use:
                self._keep(key, location, said=retry)
                return False
            self._loads += 1
            value = self._source.load()
            version = self._version_of(value) if self._version_of is not None else key[:_SHORT]
            if version == self._status.version:
                self._keep(key, location, said=retry)
                return False
            adopt(value)
        except Unavailable:
            raise
        except MitsumoriError as error:
            self._refuse(key or f"error {error.message}", location, error, again=retry)
            return False
        before = self._status.version
        self._state = (value, self._state[1] + 1)
        self._in_use, self._refused, self._said, self._location = key, None, None, location
        self._status = InputStatus(self._name, version, location, self._now(), None)
        logger().info(
            f"{self._name}_swapped", source=location, before=before, **{self._name: version}
        )
        return True

    def _keep(self, key: str, location: str, *, said: bool) -> None:
        """Note that what the source has is in use, and that nothing is refused any more."""
        status = self._status
        self._in_use, self._refused, self._said, self._location = key, None, None, location
        self._status = InputStatus(self._name, status.version, location, status.since, None)
        if said:
            logger().info(f"{self._name}_unchanged", **{self._name: status.version})

    def _refuse(self, key: str, location: str, error: MitsumoriError, *, again: bool) -> None:
        """Keep the value, and say why, once per content."""
        self._refused = key
        if key == self._said and not again:
            return
        self._said = key
        status = self._status
        self._status = InputStatus(
            self._name,
            status.version,
            status.location,
            status.since,
            Refusal(error.reason, error.message, self._now()),
        )
        logger().warning(
            f"{self._name}_refused",
            source=location,
            reason=error.reason,
            detail=error.message,
            serving=status.version,
        )
