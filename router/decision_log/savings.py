"""What the choices of a log saved against one model for all of them, with an interval that chance allows.

Only where a share of the decisions was left to chance does a log tell what another model would have brought:
see :mod:`router.core.savings`. What counts is what settled decisions really cost, failed calls included, and
the quality of those that were judged.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from router.core.off_policy import Interval
from router.core.plurals import counted
from router.core.savings import MIN_TRIALS, Sample, total
from router.decision_log.reader import LoggedDecision
from router.decision_log.record import DecisionRecord

__all__ = ["REDRAWN", "Savings", "SavingsTally"]

REDRAWN: Final = "it was made again after a limit had filled up, so its propensity is not known"
"""Why such a decision does not count."""
_NANOS = 1e9
_COVERED = 0.95
"""A model that was a candidate, or could be chosen, less often does not stand for all decisions."""

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Savings:
    """What the choices of a log saved against a single model.

    Attributes:
        model: that would have been called always; empty: the log has no decision that counts.
        decisions: settled, whose cost is known.
        covered: of these, those in which the model could have been chosen. The figures are of these alone.
        trials: of these, those in which it was chosen though another was the best.
        spent_usd: what they cost.
        saved_usd: what the single model would have cost less what they cost; ``None``: the log cannot tell.
        judged: of the covered, those whose quality was reported.
        quality_gained: their mean quality less that of the single model, −1..1; ``None`` likewise.
        cautions: what the figures do not say, and why there are none.
    """

    model: str
    decisions: int
    covered: int
    trials: int
    spent_usd: float
    saved_usd: Interval | None
    judged: int
    quality_gained: Interval | None
    cautions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Option:
    """A model that could have been chosen, with its expected price in nano-dollars."""

    propensity: float
    price: int
    p_adequate: float


@dataclass(frozen=True, slots=True)
class _Row:
    """A decision: what was chosen, what that cost in nano-dollars, its quality, and what could be chosen."""

    chosen: str
    spent: int
    quality: float | None
    options: dict[str, _Option]


@dataclass
class _Expected:
    """Sums over the decisions in which a model was a candidate."""

    decisions: int = 0
    price: int = 0
    p_adequate: float = 0.0


@dataclass
class SavingsTally:
    """Gathers decisions, and compares them with a single model. About 500 bytes a decision.

    Attributes:
        left_out: reason → decisions that do not count.
    """

    left_out: Counter[str] = field(default_factory=Counter)
    _rows: list[_Row] = field(default_factory=list)
    _expected: defaultdict[str, _Expected] = field(default_factory=lambda: defaultdict(_Expected))
    _p_chosen: float = 0.0

    def add(self, row: LoggedDecision) -> None:
        """Count a decision, or count why it does not count."""
        record, usage = row.record, row.record.usage
        if row.state == "quoted":
            return
        if row.state != "settled" or usage is None or row.spent is None:
            self.left_out["not settled"] += 1
        elif usage.model not in (None, record.chosen.model):
            self.left_out["another model than the chosen one was called"] += 1
        elif record.redrawn:
            self.left_out[REDRAWN] += 1
        elif record.propensity < 1 and record.exploration is None:
            self.left_out["its record does not say what else could have been chosen"] += 1
        else:
            for each in record.candidates:
                sums = self._expected[each.model]
                sums.decisions += 1
                sums.price += each.price_nanos.expected
                sums.p_adequate += each.p_adequate or 0.0
            self._p_chosen += record.chosen.p_adequate or 0.0
            self._rows.append(_Row(record.chosen.model, row.spent, usage.quality, _options(record)))

    @property
    def best_single(self) -> str:
        """The cheapest model by its quotes that was expected to be as adequate as the choices, else the most.

        It is found without any outcome, so that the figures about it are not those of the luckiest. Empty
        where no decision counts.
        """
        often = {
            name: sums
            for name, sums in self._expected.items()
            if sums.decisions >= _COVERED * len(self._rows)
        } or self._expected
        if not often:
            return ""
        wanted = self._p_chosen / len(self._rows)

        def mean_p(name: str) -> float:
            return often[name].p_adequate / often[name].decisions

        able = [name for name in often if mean_p(name) >= wanted - 1e-9]
        if not able:
            return min(often, key=lambda name: (-mean_p(name), name))
        return min(able, key=lambda name: (often[name].price / often[name].decisions, name))

    def savings(self, model: str = "") -> Savings:
        """What was saved against a single model.

        Args:
            model: its id; empty: the best single one.
        """
        model = model or self.best_single
        rows = [row for row in self._rows if model in row.options]
        judged = [row for row in rows if row.quality is not None]
        costs = None if not rows else _costs(rows, model)
        found = None if costs is None else total(costs)
        qualities = None if not judged else total(_qualities(judged, model))
        trials = 0 if costs is None else costs.trials
        gained = None
        if qualities is not None:
            less, n = qualities.saved, len(judged)
            gained = Interval(-less.value / n, -less.high / n, -less.low / n)
        return Savings(
            model=model,
            decisions=len(self._rows),
            covered=len(rows),
            trials=trials,
            spent_usd=sum(row.spent for row in rows) / _NANOS,
            saved_usd=None
            if found is None
            else Interval(
                *(x / _NANOS for x in (found.saved.value, found.saved.low, found.saved.high))
            ),
            judged=len(judged),
            quality_gained=gained,
            cautions=tuple(self._cautions(model, len(rows), trials, told=found is not None)),
        )

    def _cautions(self, model: str, covered: int, trials: int, *, told: bool) -> list[str]:
        decisions = len(self._rows)
        left_out = [f"{counted(n, 'decision')} left out: {why}" for why, n in self.left_out.items()]
        return [*self._doubts(model, covered, trials, told=told), *(left_out if decisions else ())]

    def _doubts(self, model: str, covered: int, trials: int, *, told: bool) -> list[str]:
        decisions = len(self._rows)
        if not decisions:
            return ["cannot tell: no settled decision counts; report usage with Settle"]
        if model not in self._expected:
            return [f"cannot tell: {model} was not a candidate in any decision"]
        if all(each.propensity >= 1 for row in self._rows for each in row.options.values()):
            return [
                f"cannot tell: every choice had propensity 1, so that nothing shows what {model} would have "
                "brought elsewhere; leave some choices to chance (setting explore, or explore in a rule)"
            ]
        said = []
        if not told:
            said.append(
                f"cannot tell yet: chance chose {model} in {counted(trials, 'decision')} where another was "
                f"the best, and {MIN_TRIALS} are needed; wait, or raise explore or explore_regret"
            )
        if covered < _COVERED * decisions:
            said.append(
                f"{model} could not have been chosen in {decisions - covered:,} of "
                f"{counted(decisions, 'decision')}, about which nothing is said: it was excluded, nothing "
                "was left to chance, or it was expected to cost more than the regret allows"
            )
        return said


def _options(record: DecisionRecord) -> dict[str, _Option]:
    found = {}
    for each in record.candidates:
        propensity = record.propensity_of(each.model)
        if propensity:
            found[each.model] = _Option(
                propensity, each.price_nanos.expected, each.p_adequate or 0.0
            )
    return found


def _costs(rows: list[_Row], model: str) -> Sample:
    """Costs in nano-dollars, in proportion to the quotes."""
    prices = _column([row.options[model].price for row in rows])
    return _sample(
        rows,
        model,
        _column([row.spent for row in rows]),
        np.zeros(len(rows)),
        np.maximum(prices, 1.0),
    )


def _qualities(rows: list[_Row], model: str) -> Sample:
    """Qualities, which differ from P(adequate) by the same everywhere."""
    quality = _column([row.quality or 0.0 for row in rows])
    expected = _column([row.options[model].p_adequate for row in rows])
    return _sample(rows, model, quality, expected, np.ones(len(rows)))


def _sample(
    rows: list[_Row], model: str, outcomes: Values, baseline: Values, size: Values
) -> Sample:
    return Sample(
        outcomes,
        np.array([row.chosen == model for row in rows]),
        _column([row.options[model].propensity for row in rows]),
        baseline,
        size,
    )


def _column(values: list[float] | list[int]) -> Values:
    return np.array(values, dtype=np.float64)
