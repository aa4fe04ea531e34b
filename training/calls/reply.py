"""What becomes of one request to an endpoint: an answer, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from urllib.parse import urlsplit

from router.core.errors import InvalidInput

__all__ = ["Failure", "Reach", "Reply", "checked_url", "internal_fault"]


class Reach(Enum):
    """What a failure says about other calls."""

    CALL = "call"
    MODEL = "model"
    RUN = "run"


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer.

    Attributes:
        text: visible, not empty.
        finish: name of the reason as the endpoint gives it; ``other``: what it gives is no name, or may hold
            the key; ``""``: it gives none.
        usage: as reported, unchecked; ``None``: nothing was.
        latency_s: seconds.
    """

    text: str
    finish: str
    usage: object
    latency_s: float


@dataclass(frozen=True, slots=True)
class Failure:
    """No answer.

    Attributes:
        kind: ``rate_limited``, ``server_error``, ``timeout``, ``no_connection``, ``broken_stream``,
            ``broken_reply``, ``empty``, ``malformed``, ``refused``, ``filtered``, ``key_refused``,
            ``model_unknown``, ``redirected``, ``no_credit`` or ``internal``.
        detail: for people.
        again: whether the same request may succeed later.
        billed: whether the provider may bill it.
        wait_s: how long the endpoint asks to wait; ``None``: it does not say.
        reach: of the failure.
        text: what of the answer was seen.
        usage: as reported, unchecked.
    """

    kind: str
    detail: str
    again: bool = False
    billed: bool = False
    wait_s: float | None = None
    reach: Reach = Reach.CALL
    text: str = ""
    usage: object = None


def internal_fault(error: Exception) -> str:
    """A fault of ours for people, without the words of the error, which may repeat a prompt."""
    return f"{type(error).__name__}, a fault of this program; please report it"


def checked_url(url: str) -> str:
    """The address of an endpoint, if it can be one, without a slash at its end.

    Raises:
        InvalidInput: it is not http or https, or holds a password.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    spaced = any(letter.isspace() for letter in url)
    if spaced or parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidInput(
            "--endpoint: must be the base URL of an OpenAI-compatible API, such as https://api.openai.com/v1",
            field="endpoint",
        )
    if parts.username or parts.password or parts.query:
        raise InvalidInput(
            "--endpoint: must hold no user, password or query; the key belongs in the environment "
            "(--api-key-env)",
            field="endpoint",
        )
    return url.rstrip("/")
