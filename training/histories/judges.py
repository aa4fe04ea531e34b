"""Which judge of a history counts. Judges differ in what they let pass, so their verdicts are never mixed."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from router.core.errors import InvalidInput

__all__ = ["Judge", "choose_judge"]


@dataclass(frozen=True)
class Judge:
    """The judge whose verdicts on a history count.

    Attributes:
        name: as the history has it; ``""`` where it names none.
        attempts: how many attempts it judged; 0 where nobody judged any.
        judged: the models that it judged.
        others: the other judges, those of most models first.
        unused: attempts that only the others judged.
    """

    name: str
    attempts: int
    judged: frozenset[str]
    others: tuple[str, ...]
    unused: int

    @property
    def title(self) -> str:
        """The name, for a sentence."""
        return self.name or "an unnamed judge"

    def theirs(self, rows: pd.DataFrame, judged: pd.Series) -> pd.DataFrame:
        """Of attempts, or of counts of them: those of this judge, and those that nobody judged.

        Args:
            rows: with a column ``judge``.
            judged: bool, whether the quality of each row is known.
        """
        if not self.others:
            return rows
        return rows[(rows["judge"].fillna("") == self.name) | (~judged & rows["judge"].isna())]


def choose_judge(counts: pd.DataFrame, asked: str | None, history: str) -> Judge:
    """The judge that is asked for, else the one of most models, then of most attempts.

    Equal ones are told apart by name, so that the order of rows changes nothing.

    Args:
        counts: of :class:`history.History`, of the models that are used.
        asked: by ``--judge`` or ``ladders.yaml``; ``""`` stands for a judge without a name, ``None``: nobody.
        history: its name, for the error.

    Raises:
        InvalidInput: attempts are judged, but none by the one that is asked for.
    """
    rows = counts[counts["judged"]].fillna({"judge": ""})
    attempts = rows.groupby("judge")["attempts"].sum()
    models = rows.groupby("judge")["model"].nunique()
    order = sorted(attempts.index, key=lambda who: (-models[who], -attempts[who], who))
    if not order:
        return Judge("", 0, frozenset(), (), 0)
    if asked is not None and asked not in order:
        there = ", ".join(name or "'' (without a name)" for name in order)
        raise InvalidInput(
            f"{history}: none of the attempts to be used is judged by {asked or 'an unnamed judge'}, but by "
            f"{there}; choose with --judge, which holds for every history",
            reason="JUDGE_UNKNOWN",
            field="judge",
        )
    name = order[0] if asked is None else asked
    return Judge(
        name,
        int(attempts[name]),
        frozenset(rows.loc[rows["judge"] == name, "model"]),
        tuple(one for one in order if one != name),
        int(attempts.sum() - attempts[name]),
    )
