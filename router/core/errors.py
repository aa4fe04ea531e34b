"""Every error that the project raises, as one tree.

    MitsumoriError                the base class; its message is one line with the cause and the remedy
    ├── InvalidInput              the input is wrong; sending it again cannot help
    ├── TooLarge                  the input exceeds a size limit
    ├── NotPossible               the request is valid but cannot be served in the current state
    ├── Conflict                  the id was already used for another request or report
    ├── NotFound                  this tenant has no such decision or limit
    ├── Exhausted                 a limit blocks the request; names it, and says whether to wait
    │   └── Deferred              batch work waits; says until when
    ├── Unauthenticated           the call carries no valid credential
    ├── NotAllowed                the credential does not allow this
    ├── Throttled                 this caller has tried too often; says when to try again
    ├── CallerGone                nobody waits for the answer any more
    ├── Unavailable               the store cannot be used now; repeat the same call
    └── BadArtifact               a required file is missing, altered or has another format

Clients get errors of their own, with the same reason and field (mitsumori/errors.py). One module maps these
classes to gRPC status codes (router/rpc/error_interceptor.py). The command line prints the message and exits
with code 2. A message never contains prompt text or a secret, and of what a caller sent only what
:func:`shown` leaves.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = [
    "BadArtifact",
    "CallerGone",
    "Conflict",
    "Deferred",
    "Exhausted",
    "InvalidInput",
    "MitsumoriError",
    "NotAllowed",
    "NotFound",
    "NotPossible",
    "Throttled",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "shortened",
    "shown",
]

_SHOWN_CHARACTERS = 80


def shown(text: str, most: int = _SHOWN_CHARACTERS) -> str:
    """A text that somebody sent, for a message: in quotes, printable, and cut where it is long.

    Args:
        text: any text.
        most: characters that are shown of it, > 0.
    """
    printable = "".join(sign if sign.isprintable() else "�" for sign in text[:most])
    return f"'{printable}'" if len(text) <= most else f"'{printable}…' ({len(text):,} characters)"


def shortened(text: str, most_bytes: int) -> str:
    """A text of at most ``most_bytes`` bytes in UTF-8, > 3; a longer one ends with ``…``."""
    data = text.encode("utf-8", "replace")
    if len(data) <= most_bytes:
        return data.decode()
    return data[: most_bytes - 3].decode("utf-8", "ignore") + "…"


class MitsumoriError(Exception):
    """An error with a machine-readable reason.

    Args:
        message: one sentence that says what is wrong and what to do.
        reason: a stable UPPER_SNAKE_CASE code for programs; on the wire, the reason of ErrorInfo. ``None``
            takes the default of the class.
        field: the request field, file or option at fault, such as ``constraints.max_price``.
        metadata: further facts as text, such as the limit and the measured value.
    """

    default_reason = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        field: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.field = field
        self.metadata: dict[str, str] = dict(metadata or {})


class InvalidInput(MitsumoriError):
    """The request, row or option is not valid."""

    default_reason = "INVALID_INPUT"


class TooLarge(MitsumoriError):
    """The input exceeds a size limit and was refused before any work was done."""

    default_reason = "TOO_LARGE"


class NotPossible(MitsumoriError):
    """The request is valid but cannot be served in the current state."""

    default_reason = "NOT_POSSIBLE"


class Conflict(MitsumoriError):
    """The id was already used for another request or report."""

    default_reason = "REQUEST_ID_REUSED"


class NotFound(MitsumoriError):
    """There is no such decision or limit, or it belongs to another tenant; callers cannot tell which."""

    default_reason = "NOT_FOUND"


class Exhausted(MitsumoriError):
    """A limit blocks the request. The reason code says whether waiting helps.

    Args:
        message: one sentence.
        reason: as of :class:`MitsumoriError`, like the next one.
        field: see ``reason``.
        metadata: see ``reason``.
        retry_after_s: when a try has a chance again, seconds ≥ 0; ``None``: that is not known.
    """

    default_reason = "LIMIT_EXHAUSTED"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        field: str = "",
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, reason=reason, field=field, metadata=metadata)
        self.retry_after_s = retry_after_s


class Deferred(Exhausted):
    """Batch work waits.

    Args:
        what: waits for what; a clause, after which the message says when to send it again.
        reason: as of :class:`MitsumoriError`, like the next one.
        metadata: see ``reason``.
        retry_after_s: when it has a chance at the earliest, seconds ≥ 0; ``None``: that is not known.
        queue: names what it waits for; of several that wait for the same, one comes after the other.
        spacing_s: seconds ≥ 0 from its turn to that of the next one.
        when: the words for when to send it again.
    """

    default_reason = "LIMIT_DEFERRED"

    def __init__(
        self,
        what: str,
        *,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
        queue: str,
        spacing_s: float,
        when: str = "later",
    ) -> None:
        message = f"{what}; send it again {when}"
        super().__init__(message, reason=reason, metadata=metadata, retry_after_s=retry_after_s)
        self.what = what
        self.queue = queue
        self.spacing_s = spacing_s


class Unauthenticated(MitsumoriError):
    """The call carries no credential, or one that is not valid; callers cannot tell why it is not."""

    default_reason = "UNAUTHENTICATED"


class NotAllowed(MitsumoriError):
    """The credential is valid, and does not allow this. Whether what is named exists makes no difference."""

    default_reason = "NOT_ALLOWED"


class Throttled(MitsumoriError):
    """This caller has tried too often.

    Args:
        message: one sentence.
        retry_after_s: when a try has a chance again, seconds > 0.
        reason: as of :class:`MitsumoriError`.
    """

    default_reason = "THROTTLED"

    def __init__(self, message: str, *, retry_after_s: float, reason: str | None = None) -> None:
        super().__init__(message, reason=reason)
        self.retry_after_s = retry_after_s


class CallerGone(MitsumoriError):
    """The caller hung up, or its deadline passed, so that nobody would hear the answer."""

    default_reason = "CALLER_GONE"


class Unavailable(MitsumoriError):
    """The store cannot be reached or written. Nothing was acknowledged; repeat the same call."""

    default_reason = "STORE_UNAVAILABLE"


class BadArtifact(MitsumoriError):
    """A bundle, encoder, catalog, tokenizer or ledger file is missing, altered or has another format."""

    default_reason = "BAD_ARTIFACT"
