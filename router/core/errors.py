"""Everything that can go wrong, as one tree.

    MitsumoriError                what every part raises; one line that names the thing and the remedy
    ├── InvalidInput              the caller's words are wrong; sending the same again cannot help
    ├── TooLarge                  the input is over a limit on size
    ├── NotPossible               well-formed, but cannot be done as things stand
    ├── Conflict                  the id was already used for another request or report
    ├── NotFound                  no such decision or limit of this tenant
    ├── Exhausted                 a limit stands in the way; says which, and whether waiting helps
    ├── Unavailable               the store cannot be used now; the same call may be repeated
    └── BadArtifact               a file that we need is missing, altered, or of another format

What a caller gets is an error of the client, with the same reason and field (mitsumori/errors.py).
The gRPC status of each kind is decided in one place (router/rpc/error_interceptor.py), and the command line
prints the message and leaves with code 2. A message never contains prompt text or a secret.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = [
    "BadArtifact",
    "Conflict",
    "Exhausted",
    "InvalidInput",
    "MitsumoriError",
    "NotFound",
    "NotPossible",
    "TooLarge",
    "Unavailable",
]


class MitsumoriError(Exception):
    """An error with a machine-readable reason.

    Args:
        message: one sentence for a person: what is wrong and what to do.
        reason: UPPER_SNAKE_CASE, stable, for programs; the ErrorInfo reason on the wire.
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
    """The request, row or option is wrong in itself."""

    default_reason = "INVALID_INPUT"


class TooLarge(MitsumoriError):
    """The input exceeds a limit on size and was refused before any work was done."""

    default_reason = "TOO_LARGE"


class NotPossible(MitsumoriError):
    """The request is well-formed, but cannot be done as things stand."""

    default_reason = "NOT_POSSIBLE"


class Conflict(MitsumoriError):
    """The same id arrived before with another request or report."""

    default_reason = "REQUEST_ID_REUSED"


class NotFound(MitsumoriError):
    """There is no such decision or limit, or it belongs to another tenant: the two look alike."""

    default_reason = "NOT_FOUND"


class Exhausted(MitsumoriError):
    """A hard limit stands in the way. The reason says whether waiting helps."""

    default_reason = "LIMIT_EXHAUSTED"


class Unavailable(MitsumoriError):
    """The store cannot be reached or written. Nothing was acknowledged; repeat the same call."""

    default_reason = "STORE_UNAVAILABLE"


class BadArtifact(MitsumoriError):
    """A bundle, encoder, catalog or tokenizer file is missing, altered or of another format."""

    default_reason = "BAD_ARTIFACT"
