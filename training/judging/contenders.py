"""Several bundles on the same held-out prompts: which rows, what each says of them, how fast."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track

from router.classifier.bundle import Bundle, load_bundle
from router.core.errors import InvalidInput
from training.encoders.embedding import embed_all, features_of
from training.histories.ladders import check_prices
from training.histories.table import Outcomes
from training.histories.tabulating import Reading, Table, read_table
from training.judging.asking import predictions, served, unseen
from training.judging.baselines import Rows
from training.judging.comparing import Judged

__all__ = ["Contender", "HeldOut", "held_out_by_all", "judge", "loaded"]

TIMED_PROMPTS = 200
WARM_UP = 5


@dataclass(frozen=True)
class Contender:
    """A bundle that is to be judged.

    Attributes:
        who: what messages call it, such as ``the bundle`` or ``A``.
        directory: where it lies.
        bundle: as loaded.
    """

    who: str
    directory: Path
    bundle: Bundle

    @property
    def arms(self) -> list[str]:
        """Names of its arms, in ascending order of capability."""
        return [arm.name for arm in self.bundle.manifest.arms]


def loaded(who: str, directory: Path, encoders: Path) -> Contender:
    """Load a bundle.

    Raises:
        BadArtifact: as :func:`bundle.load_bundle`.
    """
    return Contender(who, directory, load_bundle(directory, encoders))


@dataclass(frozen=True)
class HeldOut:
    """The prompts of some histories that no contender was trained on.

    Attributes:
        outcomes: ``n`` ≥ 1 prompts, ``k`` arms that every contender has.
        table: what they were taken from.
        notes: what was left out, and what cannot be told.
    """

    outcomes: Outcomes
    table: Table
    notes: tuple[str, ...]


def _check_arms(contenders: Sequence[Contender], arms: Sequence[str], models: Table) -> None:
    for one in contenders:
        lacking = [arm for arm in arms if arm not in one.arms]
        if not lacking:
            continue
        shared = [arm for arm in arms if all(arm in other.arms for other in contenders)]
        told = "; ".join(f"{other.who} has {', '.join(other.arms)}" for other in contenders)
        if len(shared) < 2:
            remedy = "with fewer than two arms in common nothing can be compared"
        else:
            asked = ",".join(f"{arm}={models.models[arm][0]}" for arm in shared)
            remedy = f"judge them on the arms they share: --arms {asked}"
        raise InvalidInput(
            f"the arm {' and '.join(lacking)} of the history is unknown to {one.who} ({told}); {remedy}",
            reason="ARMS_DIFFER",
            field="arms",
        )


def held_out_by_all(
    contenders: Sequence[Contender], histories: Sequence[Path], reading: Reading
) -> HeldOut:
    """Read histories and leave out every prompt that one of the contenders was trained on.

    Raises:
        InvalidInput: the histories cannot be read, have no quality, have an arm that a contender lacks, or
            hold no prompt that is new to all.
    """
    table = read_table(histories, reading)
    check_prices(reading.prices, table.models)
    test = table.outcomes
    _check_arms(contenders, test.arms, table)
    named = ", ".join(map(str, histories))
    if not test.judged.any():
        raise InvalidInput(
            f"no attempt in {named} has a quality, so nothing can be judged; add the column quality (0..1)",
            reason="NO_ATTEMPTS",
            field="history",
        )
    keep = np.ones(len(test), dtype=bool)
    notes = []
    for one in contenders:
        fresh = unseen(one.bundle, one.directory, test)
        if fresh is None:
            notes.append(
                f"{one.who} ({one.bundle.version}) does not tell what it was trained on: some of these "
                "prompts may be among it, which flatters it"
            )
        else:
            keep &= fresh
            notes.append(
                f"{int((~fresh).sum()):,} of {len(test):,} prompts taught {one.who}: left out"
            )
    if not (test.judged.any(axis=1) & keep).any():
        raise InvalidInput(
            f"every prompt of {named} taught {' or '.join(one.who for one in contenders)}; give a history "
            "that is new to all of them",
            reason="NOTHING_UNSEEN",
            field="history",
        )
    return HeldOut(test.rows(keep), table, (*table.notes, *notes))


def _times(
    contenders: Sequence[Contender], texts: Sequence[str], console: Console
) -> npt.NDArray[np.float64]:
    """Milliseconds, ``(contenders, t)``: prompt by prompt in turn, so that a busy machine slows all alike."""
    for one in contenders:
        for text in texts[:WARM_UP]:
            served(one.bundle, text)
    taken = np.empty((len(contenders), len(texts)))
    for place, text in enumerate(track(texts, "timing", console=console, transient=True)):
        for row, one in enumerate(contenders):
            start = time.perf_counter()
            served(one.bundle, text)
            taken[row, place] = (time.perf_counter() - start) * 1e3
    return taken


def judge(
    contenders: Sequence[Contender],
    test: Outcomes,
    *,
    cache: Path | None,
    console: Console,
    seed: int,
    timed: bool = True,
) -> tuple[list[Judged], Rows]:
    """Ask every contender about every prompt.

    Args:
        contenders: bundles that have all arms of ``test``.
        test: ``n`` prompts, ``k`` arms.
        cache: folder of cached embeddings.
        console: where progress goes.
        seed: of the prompts that are timed.
        timed: whether to measure the time to encode and classify.

    Returns:
        What each says, and the prompts as the baselines read them: with the vectors of the first.
    """
    texts = test.texts.tolist()
    features = features_of(texts)
    chosen = np.random.default_rng(seed).permutation(len(texts))[:TIMED_PROMPTS]
    times = (
        _times(contenders, [texts[place] for place in chosen], console)
        if timed
        else np.zeros((len(contenders), 0))
    )
    found, first = [], None
    for one, taken in zip(contenders, times, strict=True):
        vectors = embed_all(one.bundle.encoder, texts, cache=cache, console=console)
        with console.status(f"asking {one.who} about {len(texts):,} prompts"):
            said = predictions(one.bundle, texts, vectors, features, test.arms)
        found.append(Judged(said.beliefs, said.lengths, taken))
        first = vectors if first is None else first
    if first is None:
        raise ValueError("no contenders")
    return found, Rows(test, first, features)
