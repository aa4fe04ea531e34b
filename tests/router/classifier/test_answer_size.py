"""What the features say of how long an answer a text asks for."""

from __future__ import annotations

import math
from time import perf_counter

import numpy as np
import pytest

from router.classifier.features.answer_size import ANSWER_SIZE_FEATURES, answer_size_features
from router.classifier.features.lexical import FEATURES, lexical_features


def of(text: str) -> dict[str, float]:
    return dict(zip(ANSWER_SIZE_FEATURES, answer_size_features(text), strict=True))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Write a 2,000-word essay on bees.", 2_600),
        ("Write an essay of 2000 words on bees.", 2_600),
        ("Give me 3-5 sentences on bees.", 125),
        ("In one sentence, what is DNS?", 25),
        ("2000字以内で説明してください", 1_800),
        ("二千字のエッセイを書いて", 1_800),
        ("보고서를 1000자로 작성해 줘", 700),
        ("Escribe un texto de 300 palabras", 480),
        ("Write a 5k word story", 6_500),
        ("What is DNS?", 0),
        ("Call me at 555 or 1 800 200", 0),
    ],
)
def test_an_amount_of_text_is_read_in_tokens(text: str, tokens: float) -> None:
    assert of(text)["asked_text"] == pytest.approx(math.log1p(tokens))


def test_items_are_no_text() -> None:
    told = of("List ten reasons, with 200 words on the best")
    assert told["asked_items"] == pytest.approx(math.log1p(500))
    assert told["asked_text"] == pytest.approx(math.log1p(260))


def test_figures_beyond_reason_do_not_count_in_full() -> None:
    assert of("An archive of 90000 words")["asked_text"] == pytest.approx(math.log1p(10_000))


def test_a_text_to_translate_is_measured_and_its_request_is_not() -> None:
    given = "The cat sat on the mat. " * 100
    told = of(f"Translate the following text into German.\n\n{given}")
    assert told["changed_tokens"] == told["given_tokens"]
    assert math.expm1(told["changed_tokens"]) == pytest.approx(0.26 * len(given), rel=0.01)
    assert told["condensed_tokens"] == 0


def test_a_summary_of_a_text_is_not_as_long_as_the_text() -> None:
    told = of("Summarize this text and translate the summary.\n\n" + "The cat sat. " * 100)
    assert told["changed_tokens"] == 0
    assert told["condensed_tokens"] > 5


def test_a_request_without_a_text_has_none() -> None:
    assert of("How do I translate a website?")["given_tokens"] == 0
    assert of("")["given_tokens"] == 0


@pytest.mark.parametrize(
    "text", ["Answer yes or no: is it?", "出力はラベルのみ", "Only the number."]
)
def test_a_bare_answer_is_asked_for(text: str) -> None:
    assert of(text)["asks_bare_answer"] > 0


def test_they_stand_last_among_the_lexical_features_and_are_finite() -> None:
    assert FEATURES[-len(ANSWER_SIZE_FEATURES) :] == ANSWER_SIZE_FEATURES
    for text in ("", "\n" * 50, "9" * 3_000, "1,000," * 500 + "words", "語" * 20_000, "\ud800"):
        assert np.isfinite(lexical_features(text)).all()


def test_the_time_is_bounded_on_any_input() -> None:
    begun = perf_counter()
    for text in ("1," * 500_000, "one " * 300_000, "a-" * 500_000, "\n " * 500_000):
        answer_size_features(text)
    assert perf_counter() - begun < 2
