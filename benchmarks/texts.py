"""What the worst texts cost: features of a megabyte, and redaction of texts made to keep patterns busy."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from rich.progress import track

from benchmarks.report import Figure
from router.classifier.features.lexical import lexical_features
from router.decision_log.redaction import redact

HOSTILE = (
    "@", "a.", "a@", "://", "://a@", "[", "(", "+", "1", "1 ", "1-", "1.", ":", "::", "f:", "0::",
    "090-1234-5678 ", "-----BEGIN PRIVATE KEY-----", "password:", "password ", "sk-", "eyJaaaaaaaaa.",
    "〒123-4567 ", "東京都", "東京都a区1", "1丁目", "DE89 ", "DE89AB12", "?token=", "bearer ", "あ", " ",
)  # fmt: skip
"""Pieces of which whole texts are made: each begins what some pattern looks for, again and again."""
_UNITS = (
    "a", "1", "1,", " ", "\n", "$", "$a", "\\", "{;", "({", "A) ",
    "A. \n", "A. 1\n", "one ", '"', "漢", "\x00",
)  # fmt: skip
_SHORT, _LONG = 16_000, 128_000


def _seconds(work: Callable[[str], object], text: str) -> float:
    """CPU time of this process, so that other programs do not count."""
    begun = time.process_time()
    work(text)
    return time.process_time() - begun


def measure() -> Iterator[Figure]:
    """The slowest of each; redaction of eight times the text beside what a square would take, 64 times."""
    million = ((unit * 1_000_000)[:1_000_000] for unit in _UNITS)
    slowest = max(_seconds(lexical_features, text) for text in million)
    yield Figure("features of a megabyte, the slowest text", 1000 * slowest, "ms", 1000)
    growth = seconds = 0.0
    for piece in track(HOSTILE, description="redacting", transient=True):
        short, long = (_seconds(redact, piece * (count // len(piece))) for count in (_SHORT, _LONG))
        seconds = max(seconds, long)
        growth = max(growth, long / (short + 0.02))  # of a few milliseconds no ratio can be told
    yield Figure("redaction of 128,000 characters, the slowest text", seconds, "s")
    yield Figure("redaction of eight times the text, the steepest", growth, "×", 30)
