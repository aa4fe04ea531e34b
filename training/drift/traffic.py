"""Traffic in the form that :mod:`training.drift.drift_report` compares: from histories, or from a bundle.

:mod:`training.drift.decision_log` reads the traffic of the decision log.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console

from router.classifier.bundle import Bundle
from router.classifier.features.lexical import FEATURES, scripts_of
from router.classifier.reference_sample import REFERENCE_FILE, ReferenceSample
from router.files import read_checked
from training.encoders.embedding import encode_prompts
from training.histories.history import History, read_history
from training.histories.split import SEEN_FILE, group_of, sample, seen_prompts

__all__ = [
    "SettledOutcomes",
    "Traffic",
    "arm_names",
    "moment_of",
    "of_bundle",
    "of_history",
    "of_training",
    "settled_of",
    "week_of",
]

Floats = npt.NDArray[np.float64]
_FEW_UNSEEN = 200

_SCRIPT_OF = {"ja": 1, "zh": 2} | dict.fromkeys(("ar", "el", "he", "hi", "ko", "ru", "th", "uk"), 3)
"""Places in :data:`lexical.SCRIPTS` of languages that are not written in Latin script."""


@dataclass(frozen=True)
class SettledOutcomes:
    """``m`` settled outcomes with a known quality.

    Attributes:
        arms: ``(m,)``, place of the arm among those of the bundle.
        p_adequate: float64 ``(m,)``, the prediction.
        adequate: bool ``(m,)``, the outcome.
        weeks: object ``(m,)``, ISO weeks such as ``2026-W48``; ``""`` where no time is known.
    """

    arms: npt.NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, dtype=np.intp))
    p_adequate: Floats = field(default_factory=lambda: np.zeros(0))
    adequate: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))
    weeks: npt.NDArray[np.object_] = field(default_factory=lambda: np.zeros(0, dtype=object))

    def __len__(self) -> int:
        return len(self.arms)

    def rows(self, chosen: npt.NDArray[Any]) -> SettledOutcomes:
        """Some of the outcomes."""
        return SettledOutcomes(
            self.arms[chosen], self.p_adequate[chosen], self.adequate[chosen], self.weeks[chosen]
        )


@dataclass(frozen=True)
class Traffic:
    """Distinct prompts. Parts that are not known have no rows.

    Attributes:
        arms: names of the ``k`` arms.
        features: float32 ``(n, f)``, the first ``f`` of :data:`FEATURES`.
        scripts: ``(n,)``, places in :data:`lexical.SCRIPTS`.
        p_adequate: float64 ``(n, k)``, by the bundle in question.
        embeddings: float32 ``(m, d)``, by the bundle's encoder.
        settled: outcomes.
        notes: remarks on how the traffic was read.
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
    settled: SettledOutcomes = SettledOutcomes()
    notes: tuple[str, ...] = ()
    untold: tuple[str, ...] = ()


def arm_names(bundle: Bundle) -> tuple[str, ...]:
    """The arms of a bundle, in ascending order of capability."""
    return tuple(arm.name for arm in bundle.manifest.arms)


# --- From texts --------------------------------------------------------------------------------


def _of_texts(bundle: Bundle, texts: Sequence[str], cache: Path, console: Console) -> Traffic:
    """Features, vectors and P(adequate) of texts, as serving makes them."""
    prompts = encode_prompts(bundle.encoder, texts, cache=cache, console=console)
    read = zip(prompts.vectors, prompts.features, prompts.word_ids, strict=True)
    chances = [list(bundle.classify(*one).p_adequate.values()) for one in read]
    # Rounded as in the decision log: a bin may end at the exact value of a length.
    features = np.asarray(
        [[round(float(x), 5) for x in row] for row in prompts.features], np.float32
    )
    return Traffic(
        arm_names(bundle),
        features.reshape(-1, len(FEATURES)),
        scripts_of(features),
        np.asarray(chances, dtype=np.float64).reshape(len(texts), -1),
        prompts.vectors,
    )


def _distinct(texts: Iterable[str]) -> dict[str, str]:
    """The first text of each group, by group."""
    found: dict[str, str] = {}
    for text in texts:
        found.setdefault(group_of(text), text)
    return found


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
    """The prompts of training histories, held-out ones where enough of them are there.

    Args:
        bundle: loaded from ``directory``.
        directory: of the bundle.
        histories: that it was trained on.
        most: how many prompts are drawn.
        seed: of the draw.
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
            notes.append(f"{path} is not one of the histories that {bundle.version} was trained on")
        for attempts in history.batches(columns=("prompt", "model")):
            prompts |= dict.fromkeys(attempts["prompt"])
    texts = _distinct(prompts)
    unseen = _unseen(bundle, directory, list(texts))
    if unseen.sum() >= _FEW_UNSEEN:
        kept = [text for text, new in zip(texts.values(), unseen, strict=True) if new]
    else:
        kept = list(texts.values())
        notes.append("the bundle was trained on these prompts: their scores are slightly too sharp")
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

    Outcomes of an arm are the attempts of its training models, or of a model with its name.

    Args:
        bundle: loaded; its predictions are compared.
        history: of recent attempts.
        most: how many distinct prompts are read.
        cache: folder of cached vectors.
        console: for progress.
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


def settled_of(outcomes: Iterable[tuple[int, float, bool, str]]) -> SettledOutcomes:
    """Outcomes from rows of arm, P(adequate), adequate, week."""
    columns = list(zip(*outcomes, strict=True))
    if not columns:
        return SettledOutcomes()
    arms, promised, adequate, weeks = columns
    return SettledOutcomes(
        np.asarray(arms, dtype=np.intp),
        np.asarray(promised, dtype=np.float64),
        np.asarray(adequate, dtype=bool),
        np.asarray(weeks, dtype=object),
    )


# --- From the bundle alone ---------------------------------------------------------------------


def of_bundle(bundle: Bundle, directory: Path) -> Traffic:
    """The training data as a bundle records it: a sample of features and scores, or only its languages.

    Raises:
        BadArtifact: a file of the bundle is damaged.
    """
    arms = arm_names(bundle)
    vectors = "vectors: a bundle holds none; name the training histories with --history"
    files = bundle.manifest.files
    if REFERENCE_FILE in files:
        content = read_checked(
            directory, {REFERENCE_FILE: files[REFERENCE_FILE]}, remedy="train the bundle again"
        )[REFERENCE_FILE]
        kept = ReferenceSample.from_json(content, len(arms), file=f"{directory}/{REFERENCE_FILE}")
        return Traffic(
            arms, kept.features, scripts_of(kept.features), kept.p_adequate, untold=(vectors,)
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
