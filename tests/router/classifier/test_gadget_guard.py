"""The guard: what it suspects, which sentences it has read alone, and what is no guard."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from router.classifier.features.lexical import FEATURES, lexical_features
from router.classifier.gadget_guard import (
    EXTREME,
    GRAPH,
    GUARD,
    LEAST,
    MANIFEST,
    PRIOR,
    load_guard,
    outer_sentences,
)
from router.core.errors import BadArtifact

EASY = "whats the capital of slovenia"
GADGET = (
    "Assume a separable Hilbert space and a compact self-adjoint operator. Derive the asymptotic complexity "
    "and prove a lower bound. Context: a distributed system with concurrent writers and Byzantine faults. "
    "O(n log n), Θ(2^n), NP-hard, PSPACE"
)


@pytest.mark.parametrize("text", [f"{GADGET}\n\n{EASY}", f"{EASY}\n\n{GADGET}"])
def test_a_text_with_a_gadget_is_suspected_where_it_looks_hard(text: str) -> None:
    guard, features = load_guard(), lexical_features(text)
    assert guard.log_odds(features) > guard.threshold
    assert guard.suspects(LEAST, features)
    assert not guard.suspects(np.nextafter(LEAST, 0), features)


@pytest.mark.parametrize(
    "text",
    [
        EASY,
        "Prove that every bounded linear operator of finite rank on a Hilbert space is compact.",
        "東京から京都まで新幹線で行く場合の所要時間と料金を教えてください。指定席との違いも知りたいです。",
        "Write a function that merges two sorted lists.\n\ndef merge(a: list[int], b: list[int]):\n    ...",
    ],
)
def test_honest_prompts_are_not_suspected(text: str) -> None:
    assert not load_guard().suspects(1.0, lexical_features(text))


def test_at_the_threshold_itself_nothing_is_suspected() -> None:
    guard, features = load_guard(), lexical_features(GADGET)
    at_it = type(guard)(guard.session, guard.features, guard.log_odds(features))
    assert not at_it.suspects(0.5, features)


def test_a_text_that_looks_extremely_hard_is_suspected_sooner() -> None:
    guard, features = load_guard(), lexical_features(GADGET)
    sooner = type(guard)(guard.session, guard.features, guard.log_odds(features) + PRIOR)
    assert not sooner.suspects(1.0, features)
    below = type(guard)(guard.session, guard.features, sooner.threshold - 1e-6)
    assert below.suspects(EXTREME, features)
    assert not below.suspects(np.nextafter(EXTREME, 0), features)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ()),
        ("One sentence.", ()),
        ("One. Two.", ("One.", "Two.")),
        ("  One?  Two!  Three  ", ("One?", "Three")),
        ("first line\n\nsecond line\nlast line\n", ("first line", "last line")),
        ("最初です。次です。最後です。", ("最初です。", "最後です。")),
        ("Version 3.14 is out", ()),
    ],
)
def test_the_outer_sentences_of_a_text(text: str, parts: tuple[str, ...]) -> None:
    assert outer_sentences(text) == parts


def test_in_a_long_text_a_sentence_is_looked_for_near_the_ends() -> None:
    long = "a" * 1_998 + ". " + "b" * 3_000 + ". " + "c" * 1_999
    first, last = outer_sentences(long)
    assert (len(first), last) == (1_999, "c" * 1_999)
    assert outer_sentences("a" * 1_999 + ". b. c") == ()


def test_a_megabyte_without_an_end_takes_one_look_at_each_end() -> None:
    assert outer_sentences("a" * 1_000_000) == ()
    assert len(outer_sentences("a. " * 300_000)) == 2


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GUARD, tmp_path / "guard"))


def changed(copy: Path, **values: Any) -> Path:
    path = copy / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    return copy


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"format_version": 2}, "format_version"),
        ({"features": 0}, "features"),
        ({"features": len(FEATURES) + 1}, "features"),
        ({"threshold": "high"}, "threshold"),
        ({"threshold": float("nan")}, "threshold"),
        ({"sha256": None}, "sha256"),
    ],
)
def test_a_damaged_description_is_refused_by_its_field(
    copy: Path, values: dict[str, Any], field: str
) -> None:
    with pytest.raises(BadArtifact) as error:
        load_guard(changed(copy, **values))
    assert error.value.field == field
    assert "python -m training guard" in str(error.value)


@pytest.mark.parametrize("text", ["{", "[]", '{"a": ' * 5_000])
def test_what_is_no_json_object_is_refused(copy: Path, text: str) -> None:
    (copy / MANIFEST).write_text(text)
    with pytest.raises(BadArtifact, match="must be a JSON object"):
        load_guard(copy)


def test_a_missing_file_and_an_altered_graph_are_refused(copy: Path) -> None:
    (copy / GRAPH).write_bytes((copy / GRAPH).read_bytes() + b"\0")
    with pytest.raises(BadArtifact, match=GRAPH):
        load_guard(copy)
    (copy / MANIFEST).unlink()
    with pytest.raises(BadArtifact, match="is missing"):
        load_guard(copy)
