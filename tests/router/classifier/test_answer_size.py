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


@pytest.mark.parametrize(
    "text",
    [
        "Write 10000 words about cats",
        "Write 99999 words about cats",
        "Write 100000 words about cats",
        "Write 1000000 words about cats",
        "Write 1,000,000 words about cats",
        "Write 10^9 words about cats",
        "Write one million words about cats",
        f"Write {'9' * 500} words about cats",
        "百万字の小説を書いて",
        "An archive of 90000 words",
        "List 1000000 cities",
    ],
)
def test_a_figure_beyond_reason_is_taken_for_the_most(text: str) -> None:
    assert of(text)["asked_text"] == pytest.approx(math.log1p(10_000))


def test_a_greater_figure_is_never_a_shorter_text() -> None:
    figures = [10**n for n in range(1, 40)]
    asked = [of(f"Write {figure} words about cats")["asked_text"] for figure in figures]
    assert asked == sorted(asked)


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("1,500", 1_500), ("1.500", 1_500), ("1 500", 1_500), ("1_500", 1_500), ("1500", 1_500),
        ("1.5k", 1_500), ("10^3", 1_000), ("10**3", 1_000), ("10³", 1_000), ("1e3", 1_000),
        ("3 thousand", 3_000), ("a thousand", 1_000), ("a few hundred", 300), ("twenty", 20),
        ("twenty-five", 25), ("two hundred", 200), ("two hundred and fifty", 250),
        ("one thousand five hundred", 1_500),
    ],
)  # fmt: skip
def test_a_number_is_read_however_it_is_written(written: str, number: int) -> None:
    assert of(f"Write {written} words on tea")["asked_text"] == pytest.approx(
        math.log1p(1.3 * number)
    )


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("2千", 2_000),
        ("二千五百", 2_500),
        ("数百", 300),
        ("1万", 10_000),
        ("１，２００", 1_200),
        ("千", 1_000),
    ],
)
def test_a_japanese_number_is_read_too(written: str, number: int) -> None:
    assert of(f"{written}字で書いて")["asked_text"] == pytest.approx(math.log1p(0.9 * number))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("2,000 words", 2_600),
        ("Explain tides in 300 words", 390),
        ("Essay, 1500 words.", 1_950),
        ("Do not exceed 300 words", 390),
        ("Don't write more than 200 words", 260),
        ("The essay should have 500 words", 650),
        ("It has to be 500 words long", 650),
        ("Make sure it has 500 words", 650),
        ("Write an article that is 1000 words long", 1_300),
        ("The limit is 500 words.", 650),
        ("I have a 2000-word essay to write about Kant", 2_600),
        ("Explain it in 1984 words.", 2_579.2),
        ("約800字で", 720),
        ("800字以内", 720),
        ("300語で書いて", 390),
        ("文字数は500字です", 450),
    ],
)
def test_a_wish_counts_however_it_is_put(text: str, tokens: float) -> None:
    assert of(text)["asked_text"] == pytest.approx(math.log1p(tokens))


@pytest.mark.parametrize(
    "text",
    [
        "The book has 50,000 words. Who wrote it?",
        "The novel is 90,000 words long. Is that too much?",
        "In 1984 words mattered. Why?",
        "I wrote 2000 words today",
        "Here is a 2000-word article. What is it about?",
        "Which topics are in my report, which is 5000 words long?",
        "How long does it take to read 2000 words?",
        "I can type 80 words per minute",
        "Do not write 2000 words",
        "Please don't give me a 2000-word essay",
        "この本は5万字あります。誰が書いた?",
        "5万字の本を読みました",
        "2000字も書かないで",
    ],
)
def test_a_fact_about_a_text_and_a_refusal_are_no_wish(text: str) -> None:
    assert of(text)["asked_text"] == 0


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("List 1000 cities", 4_000),
        ("Please give me 50 synonyms for happy", 200),
        ("Generate a list of 100 baby names", 400),
        ("Generate 500 rows of CSV", 6_000),
        ("Name one hundred animals", 400),
        ("都市を1000個挙げて", 4_000),
        ("100行のCSVを作って", 1_200),
        ("给我100个城市", 400),
    ],
)
def test_a_long_list_is_at_least_as_long_as_its_items(text: str, tokens: float) -> None:
    assert of(text)["asked_text"] == pytest.approx(math.log1p(tokens))


def test_a_short_list_says_little_of_its_length() -> None:
    assert of("List 9 cities")["asked_text"] == 0
    assert of("List 10 cities")["asked_text"] == pytest.approx(math.log1p(40))


@pytest.mark.parametrize(
    "text",
    [
        "Write a Python script that makes 10000 rows",
        "Generate 1000 random numbers in Python",
        "Write a story about 100 soldiers",
        "The hall has 1000 rows of seats. Why?",
        "How do I list 1000 files?",
        "Give me 90 minutes",
        "Give me a 30-day plan",
        "100人の村について説明してください",
    ],
)
def test_a_number_of_things_that_is_no_list_moves_nothing(text: str) -> None:
    assert of(text)["asked_text"] == 0


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
    for unit in (
        "1,",
        "one ",
        "a-",
        "\n ",
        "1 000 ",
        "list 10 a ",
        "do not 9 words ",
        "百",
        "9字 ",
        "10^",
    ):
        text = unit * 300_000
        answer_size_features(text)
    assert perf_counter() - begun < 2
