"""Verdicts of people: bad rows by number, unknown attempts told, several people averaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.core.errors import InvalidInput
from training.judgement.verdicts import read_verdicts, with_verdicts

ROWS = [
    {"prompt_id": prompt, "model": model, "quality": None, "judge": None}
    for prompt in ("p1", "p2")
    for model in ("a", "b")
]


def csv(folder: Path, *lines: str, header: str = "prompt_id,model,quality,adequate,judge") -> Path:
    path = folder / "verdicts.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def test_quality_and_adequate_are_both_read(tmp_path: Path) -> None:
    path = csv(tmp_path, "p1,a,0.25,,", "p1,b,,yes,", "p2,a,,No,", "p2,b,,はい,")
    made = with_verdicts(ROWS, read_verdicts(path))
    assert [row["quality"] for row in made.rows] == [0.25, 1.0, 0.0, 1.0]
    assert {row["judge"] for row in made.rows} == {"people"}
    assert (made.judged, made.unknown, made.several) == (4, [], [])


def test_several_people_are_averaged_under_one_name(tmp_path: Path) -> None:
    path = csv(tmp_path, "p1,a,1,,Aiko", "p1,a,0.5,,Ben", "p1,b,0,,Aiko")
    made = with_verdicts(ROWS, read_verdicts(path))
    assert [(row["quality"], row["judge"]) for row in made.rows[:2]] == [
        (0.75, "people"),
        (0.0, "people"),
    ]
    assert made.several == [[1.0, 0.5]]


def test_one_person_is_the_judge(tmp_path: Path) -> None:
    made = with_verdicts(ROWS, read_verdicts(csv(tmp_path, "p1,a,1,,Aiko", "p2,b,0,,Aiko")))
    assert [row["judge"] for row in made.rows] == ["Aiko", None, None, "Aiko"]


def test_verdicts_on_unknown_attempts_are_told(tmp_path: Path) -> None:
    path = csv(tmp_path, "p1,a,1,,", "p9,a,1,,", "p1,z,1,,")
    assert with_verdicts(ROWS, read_verdicts(path)).unknown == [("p9", "a"), ("p1", "z")]
    with pytest.raises(InvalidInput, match="no verdict is on an attempt"):
        with_verdicts(ROWS, read_verdicts(csv(tmp_path, "p9,a,1,,")))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (",a,1,,", "prompt_id: is missing"),
        ("p1,,1,,", "model: is missing"),
        ("p1,a,,,", "quality: a row has quality"),
        ("p1,a,1,yes,", "quality: a row has quality"),
        ("p1,a,good,,", "quality: is not a number"),
        ("p1,a,1.01,,", "quality: 1.01 is not from 0 to 1"),
        ("p1,a,-0.1,,", "quality: -0.1 is not from 0 to 1"),
        ("p1,a,nan,,", "quality: nan is not from 0 to 1"),
        ("p1,a,,perhaps,", "adequate: is neither yes nor no"),
        ("p2,b,1,,Aiko", "judge: has judged this attempt in an earlier row"),
        ("p1,a", "row: has another number of fields"),
    ],
)
def test_a_bad_row_is_named_by_its_number(line: str, words: str, tmp_path: Path) -> None:
    path = csv(tmp_path, "p2,b,0,,Aiko", line)
    with pytest.raises(InvalidInput) as caught:
        read_verdicts(path)
    assert f"1 of 2 rows are bad: row 2: {words}" in caught.value.message
    left = read_verdicts(path, skip_bad_rows=True)
    assert (left.qualities, len(left.bad)) == ({("p2", "b"): {"Aiko": [0.0]}}, 1)


def test_a_number_beyond_all_numbers_is_a_bad_row(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    path.write_text(f'{{"prompt_id": "p1", "model": "a", "quality": {"9" * 400}}}\n')
    with pytest.raises(InvalidInput, match="quality: is not from 0 to 1"):
        read_verdicts(path)


def test_a_file_without_verdicts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="has no verdicts"):
        read_verdicts(csv(tmp_path))
