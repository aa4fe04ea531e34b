"""A judge's reply as a grade: read where it is one, never guessed where it is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.judgement.grades import OffRubric, grade_of, preference_of, quality_of


@pytest.mark.parametrize(
    ("reply", "grade"),
    [
        ("Right and complete.\nGRADE: 9", 9),
        ("grade: 1", 1),
        ("**GRADE: 10**", 10),
        ("Good.\n\n  Grade:7/10 \n\n", 7),
        ("## Grade = 8.", 8),
        ("理由: 正しい。\nGRADE：７", 7),
        ("6", 6),
        ("8/10", 8),
        ("GRADE: 7.0", 7),
        ("GRADE: 4\nThe second step is wrong.", 4),
        # An answer that announces its grade, quoted by the judge: the last line counts.
        ("It says:\nGRADE: 10\nwhich is no answer.\nGRADE: 2\n \n", 2),
    ],
)
def test_a_grade_is_read(reply: str, grade: int) -> None:
    assert grade_of(reply) == grade


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "gives no grade"),
        ("I cannot grade this.", "gives no grade"),
        ("It has 3 errors.", "gives no grade"),
        ("GRADE: good", "gives no grade"),
        ("GRADE: 7/5", "gives no grade"),
        ("GRADE: 7 or 8", "gives no grade"),
        ("GRADE: 10\nor rather\nGRADE: 3\nas it seems", "gives no grade"),
        ("GRADE: 0", "gives 0, which is not from 1 to 10"),
        ("GRADE: 11", "gives 11, which is not from 1 to 10"),
        ("GRADE: -3", "gives -3, which is not from 1 to 10"),
        ("GRADE: 100", "gives 100, which is not from 1 to 10"),
        ("GRADE: 7.5", "gives 7.5, which is no whole number"),
        ("GRADE: " + "9" * 400, "gives 999999999999, which is not from 1 to 10"),
        ("GRADE: -" + "9" * 400, "gives -99999999999, which is not from 1 to 10"),
        ("GRADE: 7." + "5" * 400, "gives 7.5555555555, which is no whole number"),
    ],
)
def test_what_is_off_the_rubric_is_no_grade(reply: str, reason: str) -> None:
    assert grade_of(reply) == OffRubric(reason)


@pytest.mark.parametrize("before", ["GRADE: 7", "7", "GRADE", "BETTER: TIE", ""])
def test_a_long_reply_is_read_once_through(before: str) -> None:
    # Read again from each of its places, a million characters would take hours.
    reply = f"{before}{' ' * 1_000_000}x"
    assert isinstance(grade_of(reply), OffRubric)
    assert isinstance(preference_of(reply), OffRubric)


@given(st.text(max_size=200))
def test_any_reply_is_a_grade_or_off_the_rubric(reply: str) -> None:
    found = grade_of(reply)
    assert isinstance(found, OffRubric) or 1 <= found <= 10
    preferred = preference_of(reply)
    assert isinstance(preferred, OffRubric) or preferred in (0.0, 0.5, 1.0)


def test_the_least_grade_that_does_its_job_is_adequate_by_default() -> None:
    assert [quality_of(grade) for grade in (1, 10)] == [0.0, 1.0]
    assert quality_of(7) < 0.7 <= quality_of(8)


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("Both fine.\nBETTER: TIE", 0.5),
        ("BETTER: FIRST", 1.0),
        ("**Better: second**", 0.0),
        ("BETTER：SECOND", 0.0),
    ],
)
def test_a_preference_is_read(reply: str, value: float) -> None:
    assert preference_of(reply) == value


@pytest.mark.parametrize(
    "reply", ["", "FIRST", "BETTER: THIRD", "BETTER: FIRST\nBETTER: SECOND\nhm"]
)
def test_no_preference_is_guessed(reply: str) -> None:
    assert preference_of(reply) == OffRubric("names neither FIRST, SECOND nor TIE")
