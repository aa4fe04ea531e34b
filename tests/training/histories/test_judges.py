"""One judge of a history counts, the same for every table that is made of it."""

from __future__ import annotations

from typing import Any

import pytest

from router.core.errors import InvalidInput
from training.histories.history import history_of
from training.histories.judges import Judge, choose_judge
from training.histories.ladders import Standard
from training.scale.attempt_table import attempt_table


def attempt(prompt: str, model: str, judge: str | None, quality: float | None = 1.0) -> Any:
    return {"prompt": prompt, "model": model, "judge": judge, "quality": quality}


def chosen(rows: list[Any], asked: str | None = None) -> Judge:
    return choose_judge(history_of("ours", rows).counts, asked, "ours")


BUSY_AND_FAIR = [
    *(attempt(f"p{i}", "small", "busy", 0.0) for i in range(9)),
    attempt("p0", "small", "fair"),
    attempt("p0", "large", "fair"),
]
"""One judge of nine attempts of one model, and one of two attempts of two models."""


def test_the_judge_of_most_models_counts_then_of_most_attempts_then_the_first_by_name() -> None:
    found = chosen(BUSY_AND_FAIR)
    assert (found.name, found.attempts, found.others, found.unused) == ("fair", 2, ("busy",), 9)
    assert found.judged == {"small", "large"}
    equal = [attempt("p", "small", "b"), attempt("p", "small", "a")]
    assert chosen(equal).name == "a"
    assert chosen([*equal, attempt("q", "small", "b")]).name == "b"


def test_the_scale_takes_the_same_judge_as_the_table_of_outcomes() -> None:
    table, _ = attempt_table([history_of("ours", BUSY_AND_FAIR)], [Standard(0.5)])
    assert table.adequate.tolist() == [1.0, 1.0]
    table, _ = attempt_table([history_of("ours", BUSY_AND_FAIR)], [Standard(0.5, "busy")])
    assert table.adequate.tolist() == [0.0] * 9


def test_a_judge_that_the_history_lacks_is_refused_with_those_that_it_has() -> None:
    with pytest.raises(InvalidInput) as caught:
        attempt_table([history_of("ours", BUSY_AND_FAIR)], [Standard(0.5, "nobody")])
    assert caught.value.message == (
        "ours: none of the attempts to be used is judged by nobody, but by fair, busy; "
        "choose with --judge, which holds for every history"
    )
    assert caught.value.reason == "JUDGE_UNKNOWN"


def test_a_judge_without_a_name_is_asked_for_by_an_empty_one() -> None:
    rows = [
        attempt("p", "small", None),
        attempt("p", "small", "named"),
        attempt("q", "large", "named"),
    ]
    assert chosen(rows).name == "named"
    found = chosen(rows, "")
    assert (found.attempts, found.title) == (1, "an unnamed judge")
    with pytest.raises(InvalidInput, match=r"by '' \(without a name\); choose"):
        chosen(rows[:1], "named")


def test_where_nothing_is_judged_no_judge_is_missed() -> None:
    """Such a history tells lengths, and joins others whose judge is asked for."""
    found = chosen([attempt("p", "small", None, None)], "strict")
    assert (found.attempts, found.others) == (0, ())
