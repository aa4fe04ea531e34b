"""Features of how a question is put, on questions that a person can read."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from router.classifier.features.head_and_tail import head_and_tail
from router.classifier.features.question_form import (
    QUESTION_FORM_FEATURES,
    WINDOW,
    question_form_features,
)


def of(text: str) -> dict[str, float]:
    """The features of a question that are not zero."""
    return {
        name: value
        for name, value in zip(QUESTION_FORM_FEATURES, question_form_features(text), strict=True)
        if value
    }


def count(value: float) -> int:
    return round(math.expm1(value))


EXAM = "Which of the following is NOT a noble gas?\nA. neon gas\nB. argon gas\n(C) nitrogen gas\nD: 10 gas"


def test_options_and_the_stem_before_them() -> None:
    found = of(EXAM)
    assert count(found["stem_length"]) == len("Which of the following is NOT a noble gas?\n")
    assert count(found["longest_option"]) == len("nitrogen gas")
    assert count(found["option_length"]) == round((8 + 9 + 12 + 6) / 4)
    assert found["options_vary"] == 5 / 8
    assert found["options_in_stem"] == 1 / 5
    assert found["ends_asking"] == 1
    assert "options_begin_alike" not in found


def test_japanese_options() -> None:
    found = of("次のうち、誤っているものはどれか。\nア、水\n（イ）火\n③ 土と水")
    assert count(found["longest_option"]) == len("土と水")
    assert found["ends_asking"] == 1
    assert found["negates"] > 0
    assert found["points_to_options"] > 0


def test_one_line_that_begins_with_a_letter_is_no_choice() -> None:
    found = of("Dear all,\nA. Smith is coming.\nSee you.")
    assert "option_length" not in found
    assert count(found["stem_length"]) == len("Dear all,\nA. Smith is coming.\nSee you.")


def test_options_that_are_numbers_and_options_that_begin_alike() -> None:
    found = of("How far is it?\nA. 3.5 km\nB. 40 km\nC. about half of the way\nD. about all of it")
    assert found["options_of_numbers"] == 0.5
    assert found["options_begin_alike"] == 1 / 4
    assert found["decimals"] == pytest.approx(math.log(2))


def test_options_of_one_length_have_no_spread() -> None:
    assert "option_spread" not in of("Pick.\nA. cat\nB. dog")
    assert of("Pick.\nA. cat\nB. hippopotamus")["option_spread"] > 0.3


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Every answer except one is right.", "negates"),
        ("Choose all of them.", "names_all_or_none"),
        ("Suppose x is prime.", "supposes"),
        ("What is the most likely cause?", "ranks"),
        ("Which one is it?", "points_to_options"),
        ("Statement 1 holds.", "states"),
        ("The capital of France is ____", "leaves_a_blank"),
        ("日本の首都は（　）です。", "leaves_a_blank"),
        ("A mixture of H2O and CO2", "compounds"),
        ("It happened in 1984.", "years"),
        ("1984年のことです。", "years"),
        ("It costs $ 5 more.", "percents_and_prices"),
        ("値段は500円です。", "percents_and_prices"),
        ("Why?", "ends_asking"),
        ("これは何ですか。", "ends_asking"),
        ("これは水です。", "ends_stating"),
        ("The sky is blue.", "ends_stating"),
        ("The sky is", "ends_open"),
        ("もし雨なら?", "supposes"),
        ("最も古い寺は?", "ranks"),
        ("すべて選べ。", "names_all_or_none"),
        ("この命題を調べる。", "states"),
    ],
)
def test_what_a_question_holds(text: str, name: str) -> None:
    assert of(text)[name] > 0


def test_sentences_and_their_length() -> None:
    found = of("A train leaves at noon. It is late! When does it come?")
    assert count(found["stem_sentences"]) == 3
    assert count(found["sentence_length"]) == 4
    assert count(of("雨だ。風も強い。")["stem_sentences"]) == 2


def test_the_largest_number_is_told_by_its_order() -> None:
    assert count(of("Add 12 and 3000.5 and 7.")["largest_number"]) == 3000
    assert "largest_number" not in of("Add them.")


def test_nothing_is_nothing() -> None:
    assert of("") == {}


def test_head_and_tail_of_a_long_text_are_read() -> None:
    far = "x " * WINDOW
    assert of(f"Suppose so. {far}")["supposes"] > 0
    assert of(f"{far} Suppose so.")["supposes"] > 0
    assert of(f"{far} suppose {far}") == of(f"{far} {far}")


@given(st.text(max_size=300))
@example("A. \nB. ")
@example("A. ²\nB. ²")
@example("１２３.４ ٣\nA. ٣\nB. ١")
def test_every_value_is_finite_and_bounded(text: str) -> None:
    found = question_form_features(text)
    assert len(found) == len(QUESTION_FORM_FEATURES)
    assert all(0 <= value < 30 for value in found)


@pytest.mark.parametrize(
    "text", ["\n" * 10**6, "1" * 10**6, "A. \n" * 10**5, "A. 1\n" * 10**5, "Aa1" * 10**5, " " * 10**6]
)  # fmt: skip
def test_of_a_long_text_only_the_ends_are_read(text: str) -> None:
    assert question_form_features(text) == question_form_features(head_and_tail(text, WINDOW))
    assert len(head_and_tail(text, WINDOW)) == 2 * WINDOW + 1
