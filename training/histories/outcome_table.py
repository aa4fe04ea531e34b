"""From histories to the table that fitting and evaluation work on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from router.catalog.tokens import TokenCounter
from router.classifier.manifest import HistorySource
from router.core.errors import InvalidInput
from router.core.money import usd_to_nanos
from router.core.plurals import counted
from router.core.pricing import call_price
from router.core.rates import Rates
from training.histories.aggregation import COLUMNS, PromptAggregates, aggregate_attempts
from training.histories.history import BadRow, History, read_history
from training.histories.judges import Judge, choose_judge
from training.histories.ladders import Ladder, choose_ladder, ordered_arms, reference_rates
from training.histories.outcomes import Outcomes
from training.histories.split import group_of

__all__ = [
    "HistoryTable",
    "ReadOptions",
    "named_apart",
    "o200k_tokens",
    "read_table",
    "tabulate",
    "tabulate_all",
]

NOMINAL_OUTPUT_TOKENS = 200
"""Output tokens assumed for a history without any, so that costs compare by price."""

CountTokens = Callable[[str], int]


@dataclass(frozen=True)
class ReadOptions:
    """How histories are to be read; every field can be left to the history itself.

    Attributes:
        arms: arm → model in ascending order; ``None`` takes ``ladders.yaml``.
        judge: whose quality counts; ``None`` takes the ladder's, else the one of most arms.
        adequate_at: the adequacy threshold, 0..1.
        prices: arm or model → rates, before all other prices.
        skip_bad_rows: leave bad rows out instead of refusing.
        need_prices: refuse an arm of unknown cost; labels do not need costs.
        when: the moment of the prices; ``None``: now.
    """

    arms: Mapping[str, str] | None = None
    judge: str | None = None
    adequate_at: float | None = None
    prices: Mapping[str, Rates] = field(default_factory=dict)
    skip_bad_rows: bool = False
    need_prices: bool = True
    when: datetime | None = None


@dataclass(frozen=True)
class HistoryTable:
    """Histories as one table, with its sources.

    Attributes:
        outcomes: ``n`` prompts, ``k`` arms.
        histories: one entry per file.
        models: arm → the models that stood for it.
        rates: arm → reference price; ``None`` where histories differ or log their costs.
        notes: sentences for the user: which judge, what was missing, what was left out.
        rejected: history name → its bad rows.
    """

    outcomes: Outcomes
    histories: tuple[HistorySource, ...]
    models: Mapping[str, list[str]]
    rates: Mapping[str, Rates | None]
    notes: tuple[str, ...]
    rejected: Mapping[str, tuple[BadRow, ...]]


@lru_cache(maxsize=1)
def _counter() -> TokenCounter:
    return TokenCounter()


def o200k_tokens(text: str) -> int:
    """Input tokens of a text in o200k_base: exact for OpenAI's models, an estimate for others."""
    return _counter().text_tokens(text).tokens


# --- One history -------------------------------------------------------------------------------


def _judge_of_every_arm(
    counts: pd.DataFrame, asked: str | None, name: str
) -> tuple[Judge, list[str]]:
    """The judge of a history, who must have judged every arm, and a note where others are left out.

    Args:
        counts: of :class:`history.History`, of the models that are used.
        asked: the judge that is asked for.
        name: of the history.

    Raises:
        InvalidInput: as :func:`judges.choose_judge`, or no one judge judged every arm.
    """
    judge = choose_judge(counts, asked, name)
    if not judge.others:
        return judge, []
    lacking = sorted(set(counts["model"]) - judge.judged)
    if lacking:
        raise InvalidInput(
            f"{name}: {judge.title} did not judge {', '.join(lacking)}, and judges are "
            "never mixed; choose other models with --arms, or another --judge of "
            f"{', '.join(filter(None, judge.others))}",
            reason="JUDGES_DIFFER",
            field="judge",
        )
    return judge, [
        f"{name}: judged by {judge.title} ({judge.attempts} attempts); {judge.unused} attempts of "
        f"{counted(len(judge.others), 'other judge', 'other judges')} are not used"
    ]


def _typical(
    output_tokens: npt.NDArray[np.float64], present: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float64], int]:
    """Output tokens with the gaps of present attempts filled by a mean, and how many were filled."""
    gaps = present & np.isnan(output_tokens)
    known = ~np.isnan(output_tokens)
    overall = output_tokens[known].mean() if known.any() else float(NOMINAL_OUTPUT_TOKENS)
    filled = output_tokens.copy()
    for arm in range(output_tokens.shape[1]):
        seen = known[:, arm]
        mean = output_tokens[seen, arm].mean() if seen.any() else overall
        filled[gaps[:, arm], arm] = mean
    return filled, int(gaps.sum())


def _priced(
    rates: Rates, given: npt.NDArray[np.float64], produced: npt.NDArray[np.float64]
) -> list[int]:
    price = lru_cache(maxsize=None)(call_price)
    return [
        price(rates, int(tokens_in), int(tokens_out))
        for tokens_in, tokens_out in zip(given.round(), produced.round(), strict=True)
    ]


def _costs(
    gathered: PromptAggregates, rates: Sequence[Rates | None], count_tokens: CountTokens
) -> tuple[npt.NDArray[np.int64], int]:
    """Nano-dollars per prompt and arm: logged, else price times tokens; and how many lengths were made up."""
    logged = gathered.cost_usd
    cost = np.zeros(logged.shape, dtype=np.int64)
    for row, arm in zip(*np.nonzero(~np.isnan(logged)), strict=True):
        cost[row, arm] = usd_to_nanos(Decimal(repr(float(logged[row, arm]))))
    unlogged = gathered.present & np.isnan(logged)
    input_tokens = gathered.input_tokens.copy()
    for row in np.flatnonzero((unlogged & np.isnan(input_tokens)).any(axis=1)):
        gaps = np.isnan(input_tokens[row])
        input_tokens[row, gaps] = count_tokens(gathered.texts[row])
    filled, guessed = _typical(gathered.output_tokens, unlogged)
    for arm, price in enumerate(rates):
        rows = unlogged[:, arm]
        if price is not None:
            cost[rows, arm] = _priced(price, input_tokens[rows, arm], filled[rows, arm])
    return cost, guessed


def _needed_rates(
    history: History, counts: pd.DataFrame, ladder: Ladder, reading: ReadOptions
) -> dict[str, Rates | None]:
    """The price of every arm; an arm without one is refused unless all its costs are logged."""
    when = reading.when or datetime.now(UTC)
    rates: dict[str, Rates | None] = {}
    for arm, model in ladder.arms.items():
        priced = counts.loc[counts["model"] == model, "priced"]
        if len(priced) and priced.all():
            rates[arm] = None
            continue
        rates[arm] = reference_rates(arm, model, reading.prices, when)
        if rates[arm] is None and reading.need_prices:
            raise InvalidInput(
                f"{history.name}: no price is known for the arm {arm} ({model}); "
                f"add --price {arm}=IN,OUT in USD per million tokens",
                reason="PRICE_UNKNOWN",
                field="price",
            )
    return rates


def tabulate(
    history: History,
    ladder: Ladder,
    arms: Sequence[str],
    reading: ReadOptions,
    count_tokens: CountTokens = o200k_tokens,
) -> tuple[Outcomes, dict[str, Rates | None], list[str]]:
    """One history as a table.

    Args:
        history: checked.
        ladder: which models are used; repeated attempts of a model at a prompt become their mean.
        arms: all arms of the table; those that the ladder lacks stay empty.
        reading: prices.
        count_tokens: for attempts without input tokens.

    Returns:
        The table, the reference price per arm of the ladder, and notes for the user.

    Raises:
        InvalidInput: as :func:`judges.choose_judge`; no one judge judged every arm, or one has no price.
    """
    place = {model: arms.index(arm) for arm, model in ladder.arms.items()}
    counts = history.counts[history.counts["model"].isin(list(place))]
    judge, notes = _judge_of_every_arm(counts, ladder.judge, history.name)
    rates = _needed_rates(history, judge.theirs(counts, counts["judged"]), ladder, reading)
    gathered = aggregate_attempts(
        (
            judge.theirs(attempts, attempts["quality"].notna())
            for attempts in history.batches(columns=COLUMNS, models=place)
        ),
        place,
        len(arms),
    )
    cost, guessed = _costs(gathered, [rates.get(arm) for arm in arms], count_tokens)
    if guessed:
        notes.append(
            f"{history.name}: {guessed} attempts have neither a cost nor output tokens; their cost is "
            f"reckoned with the arm's mean length, or {NOMINAL_OUTPUT_TOKENS} tokens where none is known"
        )
    n = len(gathered.texts)
    outcomes = Outcomes(
        arms=tuple(arms),
        prompt_ids=gathered.prompt_ids,
        texts=gathered.texts,
        groups=np.array([group_of(text) for text in gathered.texts], dtype=object),
        categories=gathered.categories,
        languages=gathered.languages,
        sources=np.full(n, history.name, dtype=object),
        thresholds=np.full(n, ladder.adequate_at),
        quality=gathered.quality,
        cost_nanos=cost,
        output_tokens=gathered.answer_tokens,
        propensity=gathered.propensity,
        models=np.tile(np.array([ladder.arms.get(arm, "") for arm in arms], dtype=object), (n, 1)),
    )
    return outcomes, rates, notes


# --- Several -----------------------------------------------------------------------------------


def _pooled(parts: Sequence[Outcomes]) -> Outcomes:
    """The rows of all tables; identifiers get the history's name, so that they stay distinct."""
    if len(parts) == 1:
        return parts[0]

    def joined(name: str) -> npt.NDArray[np.generic]:
        return np.concatenate([getattr(part, name) for part in parts])

    ids = [f"{part.sources[0]}/{identity}" for part in parts for identity in part.prompt_ids]
    per_prompt = (
        "texts", "groups", "categories", "languages", "sources",
        "thresholds", "quality", "cost_nanos", "output_tokens",
    )  # fmt: skip
    return replace(
        parts[0],
        prompt_ids=np.asarray(ids, dtype=object),
        propensity=_joined_propensity(parts),
        models=joined("models"),  # type: ignore[arg-type]
        **{name: joined(name) for name in per_prompt},  # type: ignore[arg-type]
    )


def _joined_propensity(parts: Sequence[Outcomes]) -> npt.NDArray[np.float64] | None:
    if all(part.propensity is None for part in parts):
        return None
    return np.concatenate(
        [
            np.full(part.quality.shape, np.nan) if part.propensity is None else part.propensity
            for part in parts
        ]
    )


def named_apart(histories: Sequence[History]) -> list[History]:
    """Histories of one name get numbers."""
    names = [history.name for history in histories]
    return [
        history if names.count(history.name) == 1 else replace(history, name=f"{history.name}-{i}")
        for i, history in enumerate(histories, start=1)
    ]


def _check_arms(arms: Sequence[str], wanted: Mapping[str, str] | None) -> None:
    missing = [f"{arm}={model}" for arm, model in (wanted or {}).items() if arm not in arms]
    if missing:
        raise InvalidInput(
            f"--arms: no history has attempts of {', '.join(missing)}",
            reason="MODEL_UNKNOWN",
            field="arms",
        )


def _agreed(prices: Sequence[Rates | None]) -> Rates | None:
    return prices[0] if prices and all(price == prices[0] for price in prices) else None


def tabulate_all(
    histories: Sequence[History], reading: ReadOptions, count_tokens: CountTokens = o200k_tokens
) -> HistoryTable:
    """Checked histories as one table; arms that a history lacks are gaps.

    Args:
        histories: checked.
        reading: arms, judge, threshold and prices.
        count_tokens: for attempts without input tokens.

    Raises:
        InvalidInput: as :func:`ladders.choose_ladder` and :func:`tabulate`.
    """
    histories = named_apart(histories)
    ladders = [
        choose_ladder(
            history,
            reading.arms,
            alone=len(histories) == 1,
            adequate_at=reading.adequate_at,
            judge=reading.judge,
        )
        for history in histories
    ]
    arms = ordered_arms(ladders, reading.arms)
    _check_arms(arms, reading.arms)
    parts, sources, notes = [], [], []
    rates: dict[str, list[Rates | None]] = {arm: [] for arm in arms}
    models: dict[str, list[str]] = {arm: [] for arm in arms}
    for history, ladder in zip(histories, ladders, strict=True):
        part, prices, remarks = tabulate(history, ladder, arms, reading, count_tokens)
        parts.append(part)
        notes += remarks
        if history.rejected_rows:
            notes.append(f"{history.name}: {history.rejected_rows} bad rows were left out")
        for arm, model in ladder.arms.items():
            rates[arm].append(prices[arm])
            if model not in models[arm]:
                models[arm].append(model)
        sources.append(
            HistorySource(
                name=history.name,
                sha256=history.sha256,
                prompts=len(part),
                attempts=int(part.judged.sum()),
                adequacy_threshold=ladder.adequate_at,
                licence=ladder.licence,
            )
        )
    return HistoryTable(
        _pooled(parts),
        tuple(sources),
        models,
        {arm: _agreed(prices) for arm, prices in rates.items()},
        tuple(notes),
        {history.name: history.rejected for history in histories if history.rejected},
    )


def read_table(
    paths: Sequence[Path], reading: ReadOptions, count_tokens: CountTokens = o200k_tokens
) -> HistoryTable:
    """Read, check and tabulate histories.

    Args:
        paths: files.
        reading: arms, judge, threshold and prices.
        count_tokens: for attempts without input tokens.

    Raises:
        InvalidInput: as :func:`history.read_history` and :func:`tabulate_all`.
    """
    histories = [read_history(path, skip_bad_rows=reading.skip_bad_rows) for path in paths]
    return tabulate_all(histories, reading, count_tokens)
