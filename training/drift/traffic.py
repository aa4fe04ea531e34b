"""Prompts as :mod:`training.drift.drifting` compares them: from histories, or from a bundle.

:mod:`training.drift.decision_log` has those of the decision log.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console

from router.classifier.bundle import REFERENCE_FILE, Bundle
from router.classifier.features.lexical import FEATURES, scripts_of
from router.files import read_checked
from training.encoders.embedding import embed_all, features_of
from training.histories.history import History, read_history
from training.histories.splitting import SEEN_FILE, group_of, seen_prompts

__all__ = [
    "REFERENCE_PROMPTS",
    "Settled",
    "Traffic",
    "arm_names",
    "moment_of",
    "of_bundle",
    "of_history",
    "of_training",
    "pack_reference",
    "sample",
    "settled_of",
    "week_of",
]

Floats = npt.NDArray[np.float64]
_FEW_UNSEEN = 200
REFERENCE_PROMPTS = 1000
"""How many prompts a bundle tells its scores of."""

_SCRIPT_OF = {"ja": 1, "zh": 2} | dict.fromkeys(("ar", "el", "he", "hi", "ko", "ru", "th", "uk"), 3)
"""Places in :data:`lexical.SCRIPTS` of languages that are not written in Latin script."""


@dataclass(frozen=True)
class Settled:
    """``m`` settled outcomes with a known quality.

    Attributes:
        arms: ``(m,)``, place of the arm among those of the bundle.
        p_adequate: float64 ``(m,)``, what was promised.
        adequate: bool ``(m,)``, what came of it.
        weeks: object ``(m,)``, ISO weeks such as ``2026-W48``; ``""`` where no time is known.
    """

    arms: npt.NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, dtype=np.intp))
    p_adequate: Floats = field(default_factory=lambda: np.zeros(0))
    adequate: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))
    weeks: npt.NDArray[np.object_] = field(default_factory=lambda: np.zeros(0, dtype=object))

    def __len__(self) -> int:
        return len(self.arms)

    def rows(self, chosen: npt.NDArray[Any]) -> Settled:
        """Some of the outcomes."""
        return Settled(
            self.arms[chosen], self.p_adequate[chosen], self.adequate[chosen], self.weeks[chosen]
        )


@dataclass(frozen=True)
class Traffic:
    """Distinct prompts. Parts that are not known have no rows.

    Attributes:
        arms: names of the ``k`` arms.
        features: float32 ``(n, f)``, the first ``f`` of :data:`FEATURES`.
        scripts: ``(n,)``, places in :data:`lexical.SCRIPTS`.
        p_adequate: float64 ``(n, k)``, by the bundle that is looked at.
        embeddings: float32 ``(m, d)``, by the bundle's encoder.
        settled: outcomes.
        notes: what to know of the reading.
        untold: what cannot be compared, and why.
    """

    arms: tuple[str, ...]
    features: npt.NDArray[np.float32] = field(
        default_factory=lambda: np.zeros((0, len(FEATURES)), dtype=np.float32)
    )
    scripts: npt.NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, dtype=np.intp))
    p_adequate: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    embeddings: npt.NDArray[np.float32] = field(
        default_factory=lambda: np.zeros((0, 0), dtype=np.float32)
    )
    settled: Settled = Settled()
    notes: tuple[str, ...] = ()
    untold: tuple[str, ...] = ()


def arm_names(bundle: Bundle) -> tuple[str, ...]:
    """The arms of a bundle, in ascending order of capability."""
    return tuple(arm.name for arm in bundle.manifest.arms)


# --- From texts --------------------------------------------------------------------------------


def _of_texts(bundle: Bundle, texts: Sequence[str], cache: Path, console: Console) -> Traffic:
    """Features, vectors and P(adequate) of texts, as serving makes them."""
    features = features_of(texts)
    vectors = embed_all(bundle.encoder, list(texts), cache=cache, console=console)
    chances = [
        list(bundle.classify(vector, row, bundle.encoder.word_ids(text)).p_adequate.values())
        for text, vector, row in zip(texts, vectors, features, strict=True)
    ]
    # As the decision log has them: lengths are few and far between, and a bin may end at one of them.
    features = np.asarray([[round(float(x), 5) for x in row] for row in features], np.float32)
    return Traffic(
        arm_names(bundle),
        features.reshape(-1, len(FEATURES)),
        scripts_of(features),
        np.asarray(chances, dtype=np.float64).reshape(len(texts), -1),
        vectors,
    )


def _distinct(texts: Iterable[str]) -> dict[str, str]:
    """The first text of each group, by group."""
    found: dict[str, str] = {}
    for text in texts:
        found.setdefault(group_of(text), text)
    return found


def sample(count: int, most: int, seed: int) -> npt.NDArray[np.intp]:
    """Which of so many prompts stand for all, at most ``most``, in order."""
    return np.sort(np.random.default_rng(seed).permutation(count)[:most])


def _unseen(bundle: Bundle, directory: Path, groups: Sequence[str]) -> npt.NDArray[np.bool_]:
    files = bundle.manifest.files
    if SEEN_FILE not in files:
        return np.ones(len(groups), dtype=bool)
    content = read_checked(
        directory, {SEEN_FILE: files[SEEN_FILE]}, remedy="train the bundle again"
    )[SEEN_FILE]
    return ~seen_prompts(groups, content, seed=bundle.manifest.split.seed)


def of_training(
    bundle: Bundle,
    directory: Path,
    histories: Sequence[Path],
    *,
    most: int,
    seed: int,
    cache: Path,
    console: Console,
) -> Traffic:
    """The prompts of training histories: those held out, for a bundle scores what it learnt better.

    Args:
        bundle: loaded from ``directory``.
        directory: of the bundle.
        histories: that it was trained on.
        most: how many prompts are drawn.
        seed: of the drawing.
        cache: folder of cached vectors.
        console: for progress.

    Raises:
        InvalidInput: a history cannot be read.
    """
    known = {source.sha256 for source in bundle.manifest.histories}
    notes = []
    prompts: dict[str, None] = {}
    for path in histories:
        history = read_history(path, skip_bad_rows=True)
        if history.sha256 not in known:
            notes.append(f"{path} is none of the histories that {bundle.version} was trained on")
        for attempts in history.batches(columns=("prompt", "model")):
            prompts |= dict.fromkeys(attempts["prompt"])
    texts = _distinct(prompts)
    unseen = _unseen(bundle, directory, list(texts))
    if unseen.sum() >= _FEW_UNSEEN:
        kept = [text for text, new in zip(texts.values(), unseen, strict=True) if new]
    else:
        kept = list(texts.values())
        notes.append("the bundle learnt from these prompts: their scores are a little too sharp")
    chosen = [kept[place] for place in sample(len(kept), most, seed)]
    return replace(_of_texts(bundle, chosen, cache, console), notes=tuple(notes))


def week_of(moment: datetime | None) -> str:
    """The ISO week of a moment in UTC, such as ``2026-W48``; empty for none."""
    if moment is None:
        return ""
    year, week, _ = moment.astimezone(UTC).isocalendar()
    return f"{year}-W{week:02d}"


def moment_of(text: str | None) -> datetime | None:
    """A moment from ISO 8601 or seconds since 1970; ``None`` for anything else."""
    if not text:
        return None
    try:
        return datetime.fromtimestamp(float(text), UTC)
    except (ValueError, OverflowError, OSError):
        pass
    try:
        made = datetime.fromisoformat(text)
    except ValueError:
        return None
    return made if made.tzinfo else made.replace(tzinfo=UTC)


def of_history(
    bundle: Bundle, history: History, *, most: int, cache: Path, console: Console
) -> Traffic:
    """Recent traffic from a history: its last ``most`` distinct prompts, their attempts as outcomes.

    Only attempts by models that taught an arm, or of the arm's name, say something of its promise.
    """
    rows = history.attempts
    texts = _distinct(rows["prompt"])
    kept = dict(list(texts.items())[-most:])
    found = _of_texts(bundle, list(kept.values()), cache, console)
    place_of = {group: place for place, group in enumerate(kept)}
    arm_of = {
        name: place
        for place, arm in enumerate(bundle.manifest.arms)
        for name in (*arm.models, arm.name)
    }
    outcomes: dict[tuple[str, int], tuple[int, float, bool, str]] = {}
    for row in rows.itertuples():
        group, arm = group_of(row.prompt), arm_of.get(row.model)
        if group in place_of and arm is not None and not np.isnan(row.quality):
            outcomes[group, arm] = (
                arm,
                found.p_adequate[place_of[group], arm],
                row.quality >= bundle.manifest.adequacy_threshold,
                week_of(moment_of(row.timestamp)),
            )
    return replace(found, settled=settled_of(outcomes.values()))


def settled_of(outcomes: Iterable[tuple[int, float, bool, str]]) -> Settled:
    """Outcomes from rows of arm, P(adequate), adequate, week."""
    columns = list(zip(*outcomes, strict=True))
    if not columns:
        return Settled()
    arms, promised, adequate, weeks = columns
    return Settled(
        np.asarray(arms, dtype=np.intp),
        np.asarray(promised, dtype=np.float64),
        np.asarray(adequate, dtype=bool),
        np.asarray(weeks, dtype=object),
    )


# --- From the bundle alone ---------------------------------------------------------------------


def pack_reference(features: npt.NDArray[np.float32], p_adequate: Floats) -> bytes:
    """The content of :data:`bundle.REFERENCE_FILE`: some held-out prompts, by features and scores.

    No text can be read from it: counts and shares, and a probability per arm.

    Args:
        features: float32 ``(n, f)`` of held-out prompts, the first ``f`` of :data:`FEATURES`.
        p_adequate: float64 ``(n, k)``, by the only stage or the first.
    """
    content = {
        "features": [[round(float(value), 5) for value in row] for row in features],
        "p_adequate": np.round(p_adequate, 6).tolist(),
    }
    return json.dumps(content, separators=(",", ":")).encode()


def of_bundle(bundle: Bundle, directory: Path) -> Traffic:
    """What a bundle itself tells of its training data: a sample of features and scores, or languages alone.

    Raises:
        BadArtifact: a file of the bundle is damaged.
    """
    arms = arm_names(bundle)
    vectors = "vectors: a bundle holds none; name the training histories with --history"
    files = bundle.manifest.files
    if REFERENCE_FILE in files:
        content = json.loads(
            read_checked(
                directory, {REFERENCE_FILE: files[REFERENCE_FILE]}, remedy="train the bundle again"
            )[REFERENCE_FILE]
        )
        features = np.asarray(content["features"], dtype=np.float32)
        return Traffic(
            arms,
            features,
            scripts_of(features),
            np.asarray(content["p_adequate"], dtype=np.float64),
            untold=(vectors,),
        )
    counts = {name: n for name, n in bundle.manifest.languages.items() if name != "unknown"}
    scripts = [_SCRIPT_OF.get(name.split("-")[0], 0) for name in counts]
    return Traffic(
        arms,
        scripts=np.repeat(np.asarray(scripts, dtype=np.intp), list(counts.values())),
        untold=(
            vectors,
            "form, length and score: this bundle keeps no sample of its training prompts; name the"
            " training histories with --history, or train it again",
        ),
    )
