"""The service's own decision log: settled decisions whose prompt was kept as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from router.decision_log.reader import Damaged, LoggedDecision, read_log
from router.ledger.base import HoldState
from training.histories.importing.drawing import Bad, Drawn, LeftOut, Options

__all__ = ["draw"]

_STATES = frozenset(state.value for state in HoldState)
_ANSWERED = frozenset({"success", "truncated"})
_FAILED = frozenset({"error", "timeout"})
_SET = "set log_prompts to redacted or text, and import what is logged from then on"
_KEPT = {
    "off": ("nothing of the prompt was kept", _SET),
    "hash": ("only a hash of the prompt was kept", _SET),
    "embedding": (
        "only the prompt's vector was kept, and training reads text",
        f"{_SET}; `mitsumori replay` and `python -m training drift` read vectors",
    ),
}


def _attempt(row: int, found: LoggedDecision) -> Drawn | LeftOut | Bad:
    record = found.record
    usage = record.get("usage", {})
    if found.state not in _STATES:
        return Bad(row, "state", "is no state of a decision")
    if found.state != "settled":
        return LeftOut(row, f"{found.state}, so no usage was reported", "settle what was answered")
    if usage.get("outcome") not in _ANSWERED:
        # A failed call says nothing of how well the model answers.
        outcome = usage.get("outcome")
        return LeftOut(
            row, f"the call failed ({outcome if outcome in _FAILED else 'unknown outcome'})"
        )
    text = record.get("prompt_judged", record.get("prompt"))
    if text is None:
        return LeftOut(row, *_KEPT.get(str(record.get("prompt_log", "off")), _KEPT["off"]))
    candidates = record.get("candidates")
    if not isinstance(candidates, list):
        return Bad(row, "record", "has no candidates")
    chosen = next((c.get("model") for c in candidates if isinstance(c, dict)), None)
    model = usage.get("model", chosen)
    values: dict[str, Any] = {
        "prompt": text,
        "model": model,
        "quality": usage.get("quality"),
        "input_tokens": usage.get("input_tokens"),
        "output_tokens": usage.get("output_tokens"),
        "cost_usd": None if found.spent is None else found.spent / 1e9,
        "latency_s": usage.get("latency_s"),
        "source": "decisions",
        "timestamp": found.created.isoformat(),
        # The probability is of the router's choice; a caller that took another model had its own.
        "propensity": record.get("propensity") if model == chosen else None,
        "user": found.labels.get("user"),
    }
    return Drawn(row, values, found.id, {"prompt": "record.prompt", "quality": "usage.quality"})


def draw(sources: Sequence[str], options: Options) -> Iterator[tuple[str, Drawn | LeftOut | Bad]]:
    """Attempts from ledgers, or from files of ``mitsumori decisions --out``.

    Raises:
        InvalidInput, Unavailable: one cannot be read.
    """
    del options  # the log says everything itself
    for source in sources:
        for row, found in enumerate(read_log(source), start=1):
            if isinstance(found, Damaged):
                yield source, Bad(row, found.column, found.reason)
            else:
                yield source, _attempt(row, found)
