"""The errors of the client."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["CallFailed", "InvalidArgument"]


class CallFailed(Exception):
    """The server refused a call, or did not answer.

    Args:
        message: one sentence for a person: what is wrong and what to do.
        code: the gRPC status by name, such as ``UNAVAILABLE`` or ``INVALID_ARGUMENT``.
        reason: UPPER_SNAKE_CASE, stable, for programs; ``CALL_FAILED`` where the server gave none.
        field: the request field at fault, such as ``constraints.max_price``; empty where none is.
        metadata: further facts as text, such as the limit and what is left of it.
        retry_after_s: when the server said that a try may succeed again, seconds ≥ 0; ``None``: it did not.
        unanswered: the service was away, too slow, overloaded or broken; otherwise it refused the call.
    """

    def __init__(
        self,
        message: str,
        code: str,
        reason: str = "CALL_FAILED",
        field: str = "",
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
        unanswered: bool = False,
    ) -> None:
        # All arguments, because an exception is pickled by its arguments.
        super().__init__(message, code, reason, field, metadata, retry_after_s, unanswered)
        self.message = message
        self.code = code
        self.reason = reason
        self.field = field
        self.metadata = dict(metadata or {})
        self.retry_after_s = retry_after_s
        self.unanswered = unanswered

    def __str__(self) -> str:
        return self.message


class InvalidArgument(ValueError):
    """An argument cannot be sent, so no call was made. ``field`` names it, such as ``prompt[2].role``."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(field, problem)
        self.message = f"{field}: {problem}"
        self.field = field

    def __str__(self) -> str:
        return self.message
