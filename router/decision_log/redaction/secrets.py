"""Secrets: tokens of well-known shapes, private keys, and what follows a word such as «password».

The table of shapes is our own. `detect-secrets` was considered and rejected: it runs some 25 detectors on
every line (0.7 ms a line), imports an HTTP client that can try the secrets it finds, and knows neither
Japanese nor the current token shapes of several providers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from router.decision_log.redaction.spans import PLACEHOLDER, Span

__all__ = ["PATTERNS", "private_keys", "spoken_secrets", "tokens"]

_SHAPES = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    + "|".join(
        (
            r"sk-[\w-]{16,}+",  # OpenAI, Anthropic, OpenRouter, DeepSeek
            r"(?:sk|rk|pk|whsec)_(?:live_|test_)?[A-Za-z0-9]{16,}+",  # Stripe
            r"gh[opsur]_[A-Za-z0-9]{30,}+",
            r"github_pat_\w{22,}+",
            r"gl(?:pat|ptt|dt|rt|cbt)-[\w-]{16,}+",
            r"(?:AKIA|ASIA|ABIA|ACCA|AGPA|AIDA|AROA)[A-Z0-9]{16}",
            r"xox[a-z]{1,2}-[\w-]{8,}+",
            r"xapp-[\w-]{16,}+",
            r"AIza[\w-]{30,}+",
            r"ya29\.[\w-]{16,}+",
            r"GOCSPX-[\w-]{16,}+",
            r"(?:hf|gsk|xai|pplx|r8|tvly|dckr_pat|npm|dop_v1|shpat|lin_api|fw|pul|nvapi|vercel|sbp)"
            r"[_-][A-Za-z0-9_-]{20,}+",
            r"pypi-[\w-]{32,}+",
            r"SG\.[\w-]{16,}+\.[\w-]{16,}+",
            r"key-[0-9a-f]{32}",
            r"\d{8,10}:AA[\w-]{32,}+",  # Telegram
            r"eyJ[\w-]{8,}+\.[\w-]{8,}+(?:\.[\w-]{0,2048}+){0,3}",  # JSON web token
            r"AGE-SECRET-KEY-1[A-Z0-9]{40,}+",
        )
    )
    + ")",
    re.ASCII,
)
_WEBHOOK = re.compile(
    r"(?:hooks\.slack\.com/services|discord(?:app)?\.com/api/webhooks)/([\w/-]{16,}+)", re.ASCII
)
_HEADER = re.compile(
    r"(?<![a-z0-9])(?:bearer|basic|authorization[\"']?[ \t]{0,4}:[ \t]{0,4}[\"']?(?:token|key)?)"
    r"[ \t]{1,4}([\w+/=.~-]{12,}+)",
    re.ASCII | re.IGNORECASE,
)
_KEY_BEGINS = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,16} ){0,4}PRIVATE KEY(?: BLOCK)?-----")
_KEY_BODY = re.compile(r"[\w+/=:,\\\s-]*+", re.ASCII)

_QUOTED = r"""(?:"(?P<a>[^"\n]{1,512})"|'(?P<b>[^'\n]{1,512})'|「(?P<c>[^」\n]{1,512})」)"""
_SPOKEN = re.compile(
    r"(?:(?P<pass>password|passwd|passphrase|passcode|pwd|パスワ[ー-]ド|パスコ[ー-]ド|暗証番号|合言葉)"
    r"|(?P<key>(?:secret|api|access|private|account|auth|client|signing|encryption)"
    r"[ _-]?(?:access[ _-]?)?(?:key|token|secret)|secret|token|credentials?"
    r"|秘密鍵|シ[ー-]クレット|ト[ー-]クン|(?:api|アクセス|認証)[ _-]?キ[ー-]))"
    r"(?:s(?![a-z]))?(?:_[a-z]{1,12})?[\"'」]?[ \t]{0,4}"
    r"(?P<sign>:=|=>|->|[:=]|は、?|is\b:?)[ \t]{0,4}"
    rf"(?!{PLACEHOLDER})(?:{_QUOTED}|(?P<bare>[^\s、。「」\"']{{1,}}+))",
    re.IGNORECASE,
)
_ASCII = re.compile(r"[!-~]++")
_TRAILING = ".,;:)]}>`"
_GAP_OR_TYPE = (
    r"(?:optional|required|string|str|secretstr|bytes|bool|boolean|int|integer|none|null|nil|true|false"
    r"|undefined|any|self|x{3,}+|\*{3,}+|\.{3,}+|…++)"
)
_NO_VALUE = re.compile(_GAP_OR_TYPE, re.IGNORECASE)
_CODE = re.compile(
    rf"[$%&*]?[{{(<\[].*+|\$\w*+|[^(\[{{]*+[(\[{{].*+|\w++(?:\.[a-z_]\w*+)++|{_GAP_OR_TYPE}(?:[|,;].*+)?",
    re.IGNORECASE,
)
"""A type, a variable, a call or a blank to fill in: code and templates, not secrets."""
_LONGEST_JUDGED = 128
"""A value longer than this is no variable's name."""

PATTERNS = (_SHAPES, _WEBHOOK, _HEADER, _KEY_BEGINS, _KEY_BODY, _ASCII, _SPOKEN, _NO_VALUE, _CODE)
"""Every pattern that reads prompts, for the test that none of them can take quadratic time."""


def tokens(text: str) -> Iterator[Span]:
    """Keys of well-known shapes, and the credentials of authorization headers, in a folded text."""
    for match in _SHAPES.finditer(text):
        yield Span(match.start(), match.end(), "secret")
    for pattern in (_WEBHOOK, _HEADER):
        for match in pattern.finditer(text):
            yield Span(match.start(1), match.end(1), "secret")


def private_keys(text: str) -> Iterator[Span]:
    """PEM blocks of private keys, including blocks whose end is cut off."""
    done = 0
    for match in _KEY_BEGINS.finditer(text):
        if match.start() < done:
            continue
        end = text.find("-----END", match.end())
        if end < 0:
            body = _KEY_BODY.match(text, match.end())
            done = body.end() if body else match.end()
        else:
            closing = text.find("-----", end + len("-----END"), end + 80)
            done = closing + len("-----") if closing >= 0 else end + len("-----END")
        yield Span(match.start(), done, "secret")
        if end < 0 and done < len(text):
            # No further block has an end: another search for one would read the rest of the text again.
            yield from _without_end(text, done)
            return


def _without_end(text: str, start: int) -> Iterator[Span]:
    for match in _KEY_BEGINS.finditer(text, start):
        body = _KEY_BODY.match(text, match.end())
        yield Span(match.start(), body.end() if body else match.end(), "secret")


def spoken_secrets(text: str) -> Iterator[Span]:
    """Values that the text calls a password, key or token, in a folded text.

    After a word such as «password» every value counts that is not code. After «key», «token» or «secret», or
    if only «is» or «は» stands between, the value must also look like a secret.
    """
    for match in _SPOKEN.finditer(text):
        start, end = match.span(match.lastgroup or 0)
        bare, password, sign = match["bare"], match["pass"] is not None, match["sign"]
        if bare is not None:
            said = _ASCII.match(bare) if sign[0] == "は" else None
            end = start + len((said.group() if said else bare).rstrip(_TRAILING))
        value = text[start:end]
        code = _NO_VALUE if bare is None else _CODE
        if len(value) <= _LONGEST_JUDGED and code.fullmatch(value):
            continue
        explicit = bare is None or sign[0] in ":=-"
        if (password and explicit and len(value) >= 4) or (
            len(value) >= (4 if password else 8) and _looks_secret(value)
        ):
            yield Span(start, end, "secret")


def _looks_secret(value: str) -> bool:
    """Letters with a digit or a sign among them, without a space."""
    plain = value.isascii() and not any(character.isspace() for character in value)
    return plain and any(not character.isalpha() for character in value.strip("-_./"))
