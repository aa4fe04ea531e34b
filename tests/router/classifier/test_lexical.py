"""What the lexical features say about prompts that a person can read."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from router.classifier.features.head_and_tail import head_and_tail
from router.classifier.features.lexical import FEATURES, WINDOW, lexical_features


def of(text: str) -> dict[str, float]:
    return dict(zip(FEATURES, lexical_features(text).tolist(), strict=True))


def log(count: float) -> object:
    return pytest.approx(np.log1p(count), abs=1e-5)


def share(value: float) -> object:
    return pytest.approx(value, abs=1e-5)


def test_a_plain_question() -> None:
    found = of("Why is the sky blue?")
    assert found["log_characters"] == log(20)
    assert found["log_words"] == log(5)
    assert found["log_lines"] == log(0)
    assert found["question_marks"] == log(1)
    assert found["upper_share"] == share(1 / 16)
    assert found["latin_share"] == share(15 / 16)
    for absent in ("digit_share", "math_share", "code_markers", "formula_markers", "han_share"):
        assert found[absent] == 0.0


def test_an_empty_text_is_zeros() -> None:
    # A text of nothing has one word of length 1 at most: the only feature with a floor.
    found = of("")
    floor = found.pop("mean_word_length")
    assert floor <= 1.0
    assert not any(found.values())


def test_code_is_seen() -> None:
    found = of("```python\ndef f(x):\n    return x + 1\n```\nWhy does f() fail?")
    assert found["code_markers"] > of("Why does my function fail on some inputs?")["code_markers"]
    assert found["code_markers"] >= np.log1p(4)
    assert found["log_lines"] == log(4)


def test_mathematics_is_seen() -> None:
    found = of(r"Prove that $\int_0^1 x^2 dx = 1/3$, and derive the general formula.")
    assert found["formula_markers"] > 0
    assert found["proof_words"] == log(2)
    assert found["math_share"] > 0


def test_numbers_are_counted_whole() -> None:
    found = of("Add 1,250.75 and 30 and 4")
    assert found["number_count"] == log(3)
    assert found["digit_share"] == share(9 / 20)


def test_multiple_choice_is_seen() -> None:
    found = of("Which planet is largest?\nA. Mars\nB. Jupiter\n(C) Venus\nD: Earth")
    assert found["option_lines"] == log(4)
    assert of("A good day to you. B is a letter.")["option_lines"] == log(0)


def test_japanese_is_kana_and_han_not_latin() -> None:
    found = of("この定理を証明してください？")
    assert found["kana_share"] > found["han_share"] > 0
    assert found["latin_share"] == 0.0
    assert found["proof_words"] == log(2)
    assert found["question_marks"] == log(1)


def test_other_scripts_are_neither_latin_nor_japanese() -> None:
    found = of("Сколько стоит хлеб")
    assert found["other_letter_share"] == share(1.0)
    assert found["latin_share"] == found["kana_share"] == found["han_share"] == 0.0


def test_shares_do_not_depend_on_white_space() -> None:
    assert of("a1 b2")["digit_share"] == of("a1" + " " * 500 + "b2")["digit_share"] == share(0.5)


def test_the_middle_of_a_very_long_text_is_not_read() -> None:
    end = "plain words " * WINDOW
    one, other = end + "x" * 1000 + end, end + "7" * 1000 + end
    assert np.array_equal(lexical_features(one), lexical_features(other))


def test_a_long_text_is_still_seen_to_be_long() -> None:
    text = "word " * 200_000
    found = of(text)
    assert found["log_characters"] == log(len(text))
    assert found["log_words"] == pytest.approx(np.log1p(200_000), abs=0.01)


LENGTHS = (
    "log_characters", "log_words", "log_lines", "text_tokens", "given_tokens", "changed_tokens",
    "condensed_tokens",
)  # fmt: skip
"""Features of the whole text, however long it is."""


@pytest.mark.parametrize(
    "unit",
    ["a", "1", "1,", " ", "\n", "$", "$a", "\\", "{;", "({", "A) ", "漢", "\U0001f600", "\x00"],
)
def test_of_a_megabyte_only_the_ends_are_read(unit: str) -> None:
    # The work is that of two windows; `python -m benchmarks texts` says how long it takes.
    text = (unit * 1_000_000)[:1_000_000]
    vector = lexical_features(text)
    assert np.isfinite(vector).all()
    assert (vector <= 16.0).all()
    ends = lexical_features(head_and_tail(text, WINDOW))
    whole = [FEATURES.index(name) for name in LENGTHS]
    assert np.array_equal(np.delete(vector, whole), np.delete(ends, whole))


@given(st.text(st.characters(exclude_categories=()), max_size=2000))
@example("\ud800")
@example("\x00" * 100)
@example("9" * 40)
@example("$" * 200)
@settings(max_examples=500)
def test_any_text_gives_finite_bounded_features(text: str) -> None:
    vector = lexical_features(text)
    assert vector.shape == (len(FEATURES),)
    assert vector.dtype == np.float32
    assert np.isfinite(vector).all()
    assert ((vector >= 0.0) & (vector <= 16.0)).all()
    assert np.array_equal(vector, lexical_features(text))


@given(st.text(alphabet="aB1?+漢かж \n", min_size=1, max_size=200))
def test_shares_are_shares(text: str) -> None:
    found = of(text)
    assert all(found[name] <= 1.0 for name in FEATURES if name.endswith("_share"))


def test_names_are_distinct() -> None:
    assert len(set(FEATURES)) == len(FEATURES)
