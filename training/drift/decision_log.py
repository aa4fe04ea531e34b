"""Recent traffic from the decision log: a file of ``mitsumori decisions --out``, or a ledger.

The log is enough even where it kept nothing of the prompts: its records hold the lexical features and the
scores. Only vectors need more.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console

from router.classifier.bundle import Bundle
from router.classifier.features.lexical import scripts_of
from router.decision_log.reader import LoggedDecision, Unparsed, is_decision_log, read_newest
from training.drift.traffic import Traffic, arm_names, of_history, settled_of, week_of
from training.histories.history import read_history

__all__ = ["of_decisions", "read_recent"]


OLD_FEATURES = 60
"""Lexical features of records that were written before ``answer_size`` had any."""


def _width(bundle: Bundle, rows: Sequence[LoggedDecision | Unparsed]) -> int:
    """How many features can be compared: those of the bundle, fewer where some records are older."""
    width = bundle.classifier.features
    records = [row.record for row in rows if not isinstance(row, Unparsed)]
    old = any(OLD_FEATURES <= len(record.features) < width for record in records)
    return OLD_FEATURES if old else width


def of_decisions(bundle: Bundle, rows: Sequence[LoggedDecision | Unparsed]) -> Traffic:
    """Recent traffic from a decision log; nothing of the prompts need have been kept.

    Features and scores are those of the moment of the decision. Scores and outcomes count only where this
    bundle made them, and scores not of two stages; vectors only where its encoder did
    (``log_prompts: embedding``).
    """
    arms, width = arm_names(bundle), _width(bundle, rows)
    features: dict[str, tuple[float, ...]] = {}
    scores: dict[str, list[float]] = {}
    vectors: dict[str, npt.NDArray[np.float32]] = {}
    outcomes: dict[tuple[str, int], tuple[int, float, bool, str]] = {}
    unparsed: Counter[tuple[str, str]] = Counter()
    odd = others = 0
    for row in rows:
        if isinstance(row, Unparsed):
            unparsed[row.reason, row.remedy] += 1
            continue
        record = row.record
        if len(record.features) < width:
            odd += 1
            continue
        values, promised = record.features[:width], record.p_adequate
        # A repeated prompt is no second witness. Where no hash was kept, equal scores tell it: they come from
        # the text, and prompts of the same form differ in them.
        key = record.prompt_hash or json.dumps([values, promised], sort_keys=True)
        features.setdefault(key, values)
        kept = record.prompt_embedding
        if kept is not None and kept.encoder_sha256 == bundle.encoder.manifest.sha256:
            vectors.setdefault(key, kept.vector)
        if record.bundle != bundle.version or set(promised) != set(arms):
            others += 1
            continue
        if bundle.second is None:
            scores.setdefault(key, [promised[arm] for arm in arms])
        outcome = _outcome(bundle, arms, row)
        if outcome is not None:
            outcomes[key, outcome[0]] = outcome
    notes = [f"{len(rows):,} decisions read, {len(features):,} distinct prompts"]
    notes += [
        f"{count:,} decisions were left out: {reason} ({remedy})"
        for (reason, remedy), count in unparsed.most_common()
    ]
    if odd:
        notes.append(f"{odd:,} decisions of other features were left out")
    if others:
        notes.append(
            f"{others:,} decisions were made by another bundle than {bundle.version}: their scores and"
            " outcomes say nothing of its promises and were left out"
        )
    untold = []
    if not vectors:
        untold.append(
            "vectors: the log kept none of this bundle's encoder, so a change of topic shows only in"
            " form, length, language and score; `log_prompts: embedding` keeps them"
        )
    if bundle.second is not None:
        untold.append(
            "score: which of the two stages spoke depends on the goals of the callers, so logged scores"
            " cannot be compared with those of training; name a history with --recent"
        )
    matrix = np.asarray(list(features.values()), dtype=np.float32).reshape(-1, width)
    return Traffic(
        arms,
        matrix,
        scripts_of(matrix),
        np.asarray(list(scores.values()), dtype=np.float64).reshape(-1, len(arms)),
        np.stack(list(vectors.values())) if vectors else np.zeros((0, 0), dtype=np.float32),
        settled_of(outcomes.values()),
        tuple(notes),
        tuple(untold),
    )


def _outcome(
    bundle: Bundle, arms: Sequence[str], row: LoggedDecision
) -> tuple[int, float, bool, str] | None:
    record, usage = row.record, row.record.usage
    if usage is None or usage.quality is None:
        return None
    candidate = record.candidate(usage.model)
    arm = None if candidate is None else candidate.arm
    if arm is None or arm not in arms:
        return None
    return (
        list(arms).index(arm),
        record.p_adequate[arm],
        usage.quality >= bundle.manifest.adequacy_threshold,
        week_of(row.created),
    )


def read_recent(
    bundle: Bundle, recent: str, *, most: int, cache: Path, console: Console
) -> Traffic:
    """Recent traffic from a history, an export of the decision log, or a ledger.

    Raises:
        InvalidInput: it cannot be read.
    """
    if is_decision_log(recent):
        return of_decisions(bundle, read_newest(recent, most))
    history = read_history(Path(recent), skip_bad_rows=True)
    found = of_history(bundle, history, most=most, cache=cache, console=console)
    bad = (f"{history.rejected_rows:,} bad rows left out",) if history.rejected_rows else ()
    return replace(found, notes=(f"{len(found.features):,} distinct prompts", *bad))
