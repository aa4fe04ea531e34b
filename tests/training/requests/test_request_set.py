"""The annotated requests that ship: many, of many kinds and languages, annotated alike by two."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from router.core.errors import BadArtifact
from training.histories.split import group_of
from training.requests.request_set import (
    ANSWERS,
    agreement,
    history_annotations,
    prompt_key,
    read_requests,
)

REQUESTS = read_requests()


def test_there_are_thousands_of_requests_of_forty_kinds_and_more_in_many_languages() -> None:
    assert len(REQUESTS) >= 2000
    assert len({request.kind for request in REQUESTS}) >= 40
    languages = Counter(request.language for request in REQUESTS)
    assert len(languages) >= 15
    assert languages["ja"] >= 0.25 * len(REQUESTS)
    assert languages["en"] >= 0.5 * len(REQUESTS)


def test_every_level_has_its_share_in_english_and_in_japanese() -> None:
    for language in ("en", "ja"):
        levels = Counter(round(one.level) for one in REQUESTS if one.language == language)
        assert set(levels) == {0, 1, 2, 3}
        assert min(levels.values()) >= 0.15 * sum(levels.values())


def test_no_request_stands_there_twice() -> None:
    groups = Counter(group_of(request.prompt) for request in REQUESTS)
    assert [key for key, count in groups.items() if count > 1] == []


def test_two_annotators_agree_on_the_level_and_on_the_length_of_the_answer() -> None:
    first, second = zip(*(request.annotations for request in REQUESTS), strict=True)
    levels = agreement([one.level for one in first], [one.level for one in second], 4)
    answers = agreement([one.answer for one in first], [one.answer for one in second], len(ANSWERS))
    assert levels > 0.9
    assert answers > 0.85


def test_length_does_not_give_the_level_away() -> None:
    for level in range(4):
        sizes = [len(one.prompt) for one in REQUESTS if round(one.level) == level]
        assert sum(size < 80 for size in sizes) >= 0.05 * len(sizes)
        assert sum(size > 400 for size in sizes) >= 0.05 * len(sizes)


def test_annotations_of_other_prompts_are_kept_by_hash_alone() -> None:
    known = history_annotations()
    assert len(known) > 1000
    assert all(len(key) == 16 and int(key, 16) >= 0 for key in known)
    assert not set(known) & {prompt_key(request.prompt) for request in REQUESTS}


@pytest.mark.parametrize(
    ("first", "second", "kappa"),
    [
        ([0, 1, 2, 3], [0, 1, 2, 3], 1.0),
        ([0, 0, 1, 1], [0, 1, 0, 1], 0.0),
        ([0, 1], [1, 0], -1.0),
        # By hand: the squared distances sum to 1, by chance to 32 / 4.
        ([0, 1, 2, 3], [0, 1, 2, 2], 1 - 1 / 8),
    ],
)
def test_agreement_beyond_chance(first: list[int], second: list[int], kappa: float) -> None:
    assert agreement(first, second, 4) == pytest.approx(kappa)


ANNOTATION = {"level": 0, "knowledge": 0, "reasoning": 0, "constraints": 0, "answer": "word"}
GOOD = {"kind": "k", "language": "en", "prompt": "Hi", "annotations": [ANNOTATION]}


def with_annotation(**changes: object) -> str:
    return json.dumps(GOOD | {"annotations": [ANNOTATION | changes]})


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (json.dumps(GOOD), "prompt"),
        (json.dumps(GOOD | {"kind": "another"}), "prompt"),
        ("{", "line"),
        ("", "line"),
        ("[1]", "line"),
        ("[" * 100_000, "line"),
        (json.dumps(GOOD | {"annotations": []}), "annotations"),
        (json.dumps(GOOD | {"annotations": {"level": 1}}), "annotations"),
        (json.dumps(GOOD | {"annotations": ["expert"]}), "annotations"),
        (json.dumps(GOOD | {"prompt": ""}), "prompt"),
        (json.dumps(GOOD | {"prompt": " "}), "prompt"),
        (json.dumps(GOOD | {"prompt": ["Secret"]}), "prompt"),
        (json.dumps(GOOD | {"language": 3}), "language"),
        (json.dumps({name: value for name, value in GOOD.items() if name != "kind"}), "kind"),
        (with_annotation(level=4), "level"),
        (with_annotation(level=-1), "level"),
        (with_annotation(level=True), "level"),
        (with_annotation(level=1.5), "level"),
        (with_annotation(level="1"), "annotations"),
        (with_annotation(knowledge=3), "knowledge"),
        (with_annotation(reasoning=None), "reasoning"),
        (with_annotation(answer="novel"), "answer"),
        (with_annotation(answer=0), "answer"),
    ],
)
def test_a_damaged_line_is_named_with_its_field_and_its_text_is_not(
    tmp_path: Path, bad: str, field: str
) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_text(f"{json.dumps(GOOD)}\n{bad}\n{json.dumps(GOOD)}\n", encoding="utf-8")
    with pytest.raises(BadArtifact) as caught:
        read_requests(path)
    assert caught.value.message.startswith(f"{path}, line 2, {field}: ")
    assert caught.value.message.endswith("restore the file from the release")
    assert "\n" not in caught.value.message
    assert "Secret" not in caught.value.message


HEADER = "key,level,knowledge,reasoning,constraints,answer"
KEY = "0123456789abcdef"


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ("fedcba,0,0,0,0,word", "key"),
        (f"{KEY},0,0,0,0,word", "key"),  # as on the line before
        ("0000000000000000,4,0,0,0,word", "level"),
        ("0000000000000000,1.0,0,0,0,word", "level"),
        ("0000000000000000,,0,0,0,word", "level"),
        ("0000000000000000,1,0,3,0,word", "reasoning"),
        ("0000000000000000,1,0,0,0,novel", "answer"),
        ("0000000000000000,1,0,0,0", "answer"),
        ("0000000000000000,1,0,0,0,word,more", "line"),
    ],
)
def test_a_damaged_line_of_the_keys_is_named_with_its_field(
    tmp_path: Path, bad: str, field: str
) -> None:
    path = tmp_path / "history_prompts.csv"
    path.write_text(f"{HEADER}\n{KEY},0,0,0,0,word\n{bad}\n", encoding="utf-8")
    with pytest.raises(BadArtifact) as caught:
        history_annotations(path)
    assert caught.value.message.startswith(f"{path}, line 3, {field}: ")


def test_a_header_without_a_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "history_prompts.csv"
    path.write_text(f"{HEADER.replace('reasoning', 'thinking')}\n{KEY},0,0,0,0,word\n")
    with pytest.raises(BadArtifact, match=r"csv, line 1, reasoning: is no column of the header"):
        history_annotations(path)


@pytest.mark.parametrize("content", ["", HEADER, f"{HEADER}\n"])
def test_an_empty_file_is_no_set_of_annotations(tmp_path: Path, content: str) -> None:
    path = tmp_path / "history_prompts.csv"
    path.write_text(content)
    with pytest.raises(BadArtifact, match="has no line; restore it from the release"):
        history_annotations(path)
    requests = tmp_path / "requests.jsonl"
    requests.write_text("")
    with pytest.raises(BadArtifact, match="has no line; restore it from the release"):
        read_requests(requests)


@pytest.mark.parametrize("read", [read_requests, history_annotations])
def test_a_file_of_another_encoding_is_one_line(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    path = tmp_path / "file"
    path.write_bytes("東京".encode("shift-jis"))
    with pytest.raises(BadArtifact, match="file is not UTF-8 text; restore it from the release"):
        read(path)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadArtifact, match="restore it from the release"):
        history_annotations(tmp_path / "none.csv")
