"""The contract of an attempt in a history, and the checks of rows against it.

Every row is checked, a column at a time. Every bad row is reported by its number, with the column and the
reason. No message contains the text of a prompt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "NUMERIC",
    "REQUIRED",
    "Attempt",
    "BadRow",
    "Identities",
    "answer_tokens",
    "check",
    "framed",
]

Share = Annotated[float, Field(ge=0, le=1)]
Amount = Annotated[float, Field(ge=0)]
Text = Annotated[str, Field(min_length=1)]


class Attempt(BaseModel):
    """One row of a history: one model's answer to one prompt. The contract, and its only source.

    A null, a NaN and an empty text all mean «not given». Columns that are not named here are ignored, such as
    those that collection and judgement keep beside them (:data:`training.histories.attempt_rows.BESIDE`).
    The bounds below are what :func:`check` checks, a column at a time.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    prompt: Text
    model: Text
    prompt_id: str | None = Field(default=None, description="left out: a hash of the prompt")
    quality: Share | None = Field(default=None, description="of the answer; left out: not judged")
    input_tokens: Amount | None = Field(default=None, description="left out: counted")
    output_tokens: Amount | None = Field(
        default=None, description="all that is billed, hidden reasoning included"
    )
    reasoning_tokens: Amount | None = Field(
        default=None,
        description="hidden reasoning, a part of output_tokens; lengths are learnt without it",
    )
    cost_usd: Amount | None = Field(default=None, description="left out: price times tokens")
    latency_s: Amount | None = None
    language: str | None = Field(default=None, description="code such as en or ja")
    category: str | None = None
    source: str | None = None
    judge: str | None = Field(default=None, description="who gave the quality; never mixed")
    timestamp: str | None = Field(default=None, description="ISO 8601, or seconds since 1970")
    propensity: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="probability with which a router chose this model"
    )
    user: str | None = None


@dataclass(frozen=True, slots=True)
class _Range:
    """The range of a number: from ``low`` (``above``: without it) to ``high``, always finite."""

    low: float
    above: bool
    high: float

    def holds(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Which values are inside; NaN and infinities are not."""
        enough = values > self.low if self.above else values >= self.low
        return np.asarray(enough & (values <= self.high) & np.isfinite(values))

    @property
    def reason(self) -> str:
        least = f"{'above' if self.above else 'at least'} {self.low:g}"
        return f"must be finite, {least}" + (
            f" and at most {self.high:g}" if np.isfinite(self.high) else ""
        )


def _range(column: str) -> _Range | None:
    """The range of a numeric column of :class:`Attempt`, ``None`` for a column of text."""
    for part in get_args(Attempt.model_fields[column].annotation):
        inner = get_args(part)
        if not inner or inner[0] is not float:
            continue
        bounds: list[Any] = [bound for extra in inner[1:] for bound in extra.metadata]
        low = next(b.gt if hasattr(b, "gt") else b.ge for b in bounds if not hasattr(b, "le"))
        high = next((b.le for b in bounds if hasattr(b, "le")), np.inf)
        return _Range(float(low), any(hasattr(b, "gt") for b in bounds), float(high))
    return None


REQUIRED = tuple(name for name, field in Attempt.model_fields.items() if field.is_required())
"""Columns that every history has."""
_NUMBERS = {name: found for name in Attempt.model_fields if (found := _range(name)) is not None}
NUMERIC = frozenset(_NUMBERS)
"""Columns that hold numbers; all others hold texts."""

_DECIMALS = 6
"""Digits kept of a quality: a float32 column stores .7 as .69999999, which must still reach .7."""


@dataclass(frozen=True, slots=True, order=True)
class BadRow:
    """One thing wrong with one row. ``row`` counts data rows from 1."""

    row: int
    column: str
    reason: str

    def __str__(self) -> str:
        return f"row {self.row}: {self.column}: {self.reason}"


def framed(
    rows: Sequence[dict[str, Any]], columns: Collection[str] = tuple(Attempt.model_fields)
) -> pd.DataFrame:
    """Rows as a table of objects, those of ``columns`` that any row has; unchecked."""
    present = {name for row in rows for name in row}
    return pd.DataFrame(
        {
            name: pd.Series([row.get(name) for row in rows], dtype=object)
            for name in columns
            if name in present
        },
        index=range(len(rows)),
    )


def answer_tokens(attempts: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Output tokens of the visible answers, float64 ``(n,)``, ≥ 0; NaN where the output is not known.

    Lengths are learnt and compared without hidden reasoning: a quote adds the catalog's allowance for it.

    Args:
        attempts: checked, with the columns ``output_tokens`` and ``reasoning_tokens``.
    """
    hidden = attempts["reasoning_tokens"].fillna(0.0)
    return np.asarray(attempts["output_tokens"] - hidden, dtype=np.float64)


# --- Columns -----------------------------------------------------------------------------------


def _missing(values: pd.Series) -> npt.NDArray[np.bool_]:
    missing = values.isna()
    if values.dtype.kind in "iufb":
        return np.asarray(missing, dtype=bool)
    return np.asarray(missing | (values == ""), dtype=bool)


def _number(value: object) -> float:
    """A float, NaN for what is not a number at all."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | np.number):
        return float("nan")
    try:
        return float(value)
    except (ValueError, OverflowError):
        return float("nan")


def _named(rows: npt.NDArray[np.bool_], column: str, reason: str) -> list[BadRow]:
    return [BadRow(int(row) + 1, column, reason) for row in np.flatnonzero(rows)]


def _check_number(name: str, raw: pd.Series) -> tuple[npt.NDArray[np.float64], list[BadRow]]:
    missing = _missing(raw)
    if raw.dtype.kind in "iuf":
        values = raw.to_numpy(dtype=np.float64, na_value=np.nan, copy=True)
    else:
        values = np.fromiter(map(_number, raw.to_numpy(dtype=object, na_value=None)), np.float64)
    not_numbers = ~missing & np.isnan(values)
    bad = _named(not_numbers, name, "is not a number")
    with np.errstate(invalid="ignore"):
        outside = ~missing & ~not_numbers & ~_NUMBERS[name].holds(values)
    for row in np.flatnonzero(outside):
        bad.append(BadRow(int(row) + 1, name, f"{values[row]:g} {_NUMBERS[name].reason}"))
    values[missing | outside] = np.nan
    return values.round(_DECIMALS) if name == "quality" else values, bad


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _check_text(name: str, raw: pd.Series) -> tuple[npt.NDArray[np.object_], list[BadRow]]:
    missing = _missing(raw)
    values = raw.to_numpy(dtype=object, na_value=None).copy()
    values[missing] = None
    # Nearly all values are text, which pandas detects without a call per value.
    plain = pd.api.types.infer_dtype(values, skipna=True) in {"string", "empty"}
    texts = ~missing if plain else np.fromiter(map(_is_text, values), bool, len(values))
    if name in REQUIRED:
        blank = missing.copy()
        blank[texts] = [not value.strip() for value in values[texts]]
        bad = _named(blank, name, "is missing")
        return values, bad + _named(~texts & ~blank, name, "is not text")
    other = ~texts & ~missing
    values[other] = [str(value) for value in values[other]]
    return values, []


def _check_timestamp(values: npt.NDArray[np.object_]) -> list[BadRow]:
    given = pd.Series(values).dropna()
    if given.empty:
        return []
    seconds = pd.to_numeric(given, errors="coerce")
    parsed = pd.to_datetime(given[seconds.isna()], format="ISO8601", utc=True, errors="coerce")
    reason = "is neither an ISO 8601 time nor seconds since 1970"
    return [BadRow(int(row) + 1, "timestamp", reason) for row in parsed[parsed.isna()].index]


def _check_reasoning(
    output: npt.NDArray[np.float64], reasoning: npt.NDArray[np.float64]
) -> list[BadRow]:
    """Hidden reasoning is a part of the output, so there cannot be more of it."""
    with np.errstate(invalid="ignore"):
        more = np.flatnonzero(reasoning > output)
    return [
        BadRow(
            int(row) + 1,
            "reasoning_tokens",
            f"{reasoning[row]:g} is above the {output[row]:g} output_tokens, which include it",
        )
        for row in more
    ]


# --- Rows --------------------------------------------------------------------------------------


def _hashed(prompt: str) -> str:
    """16 hexadecimal digits of a prompt's BLAKE2b."""
    return hashlib.blake2b(prompt.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


class Identities:
    """Which prompt every ``prompt_id`` stands for, over all batches of a history.

    It keeps a hash per id, never a text, so memory grows with the distinct prompts only.
    """

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._known)

    def check(
        self,
        names: npt.NDArray[np.object_],
        prompts: npt.NDArray[np.intp],
        hashes: npt.NDArray[np.object_],
    ) -> npt.NDArray[np.bool_]:
        """Which rows have a ``prompt_id`` that stands for another prompt in an earlier row.

        Args:
            names: ``(n,)``, the ``prompt_id`` of each row.
            prompts: ``(n,)``, the position of the hash of its prompt.
            hashes: of the distinct prompts.

        Returns:
            bool ``(n,)``.
        """
        codes, ids = pd.factorize(names)
        pair_of = codes * len(hashes) + prompts
        pairs, first, places = np.unique(pair_of, return_index=True, return_inverse=True)
        wrong = np.zeros(len(pairs), dtype=bool)
        for pair in np.argsort(first):  # as the rows come
            row = first[pair]
            found = hashes[prompts[row]]
            wrong[pair] = self._known.setdefault(ids[codes[row]], found) != found
        return np.asarray(wrong[places])


def _check_identity(
    attempts: pd.DataFrame, rows: npt.NDArray[np.intp], identities: Identities | None
) -> list[BadRow]:
    """Give sound rows without a ``prompt_id`` the hash of their prompt, and check the others."""
    names = attempts["prompt_id"].to_numpy()[rows]
    unnamed = pd.isna(names)
    if identities is None and not unnamed.any():
        return []
    prompts, texts = pd.factorize(attempts["prompt"].to_numpy()[rows])
    hashes = np.array([_hashed(text) for text in texts], dtype=object)
    names = np.where(unnamed, hashes[prompts], names)
    attempts.loc[rows, "prompt_id"] = names
    if identities is None:
        return []
    reason = "stands for another prompt in an earlier row"
    wrong = rows[identities.check(names, prompts, hashes)]
    return [BadRow(int(row) + 1, "prompt_id", reason) for row in wrong]


def check(
    raw: pd.DataFrame, identities: Identities | None = None
) -> tuple[pd.DataFrame, list[BadRow]]:
    """Check rows.

    Args:
        raw: unchecked, with any columns of :class:`Attempt`.
        identities: of the rows that came before these; gets theirs. ``None``: that no ``prompt_id`` stands
            for two prompts is known already.

    Returns:
        The attempts, bad ones included, every column of :class:`Attempt`: numbers as float64 with NaN
        for «not given», texts as str or None, ``prompt_id`` wherever the row is sound. And what is wrong
        with the bad ones; rows count from 1 at the first row of ``raw``.
    """
    bad: list[BadRow] = []
    columns: dict[str, Any] = {}
    for name in Attempt.model_fields:
        if name in REQUIRED and name not in raw.columns:
            columns[name] = np.full(len(raw), None)
            bad += _named(np.ones(len(raw), dtype=bool), name, "is missing")
        elif name not in raw.columns:
            columns[name] = np.full(len(raw), np.nan if name in NUMERIC else None)
        elif name in NUMERIC:
            columns[name], found = _check_number(name, raw[name])
            bad += found
        else:
            columns[name], found = _check_text(name, raw[name])
            bad += found
    bad += _check_reasoning(columns["output_tokens"], columns["reasoning_tokens"])
    bad += _check_timestamp(columns["timestamp"])
    # object, not pandas' own text type: half of a surrogate pair cannot be stored in Arrow.
    attempts = pd.DataFrame(
        {
            name: pd.Series(values, dtype=float if name in NUMERIC else object)
            for name, values in columns.items()
        }
    )
    sound = np.ones(len(attempts), dtype=bool)
    sound[[row.row - 1 for row in bad]] = False
    return attempts, bad + _check_identity(attempts, np.flatnonzero(sound), identities)
