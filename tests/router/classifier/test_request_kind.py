"""Features of the kind of request, on prompts that a person can read."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from router.classifier.features.head_and_tail import head_and_tail
from router.classifier.features.request_kind import (
    REQUEST_KIND_FEATURES,
    WINDOW,
    request_kind_features,
)


def of(text: str) -> dict[str, float]:
    """The features of a text that are not zero."""
    return {
        name: value
        for name, value in zip(REQUEST_KIND_FEATURES, request_kind_features(text), strict=True)
        if value
    }


def asked(text: str) -> int:
    """About how many tokens it asks for."""
    return round(math.expm1(of(text)["log_amount"]))


@pytest.mark.parametrize(
    ("text", "cue"),
    [
        ("Write an essay on the history of tea.", "asks_long_text"),
        ("Suggest a slogan for my tea house.", "asks_short_text"),
        ("Compose a song.", "asks_to_write"),
        ("Tell me a joke.", "asks_to_write"),
        ("Sort it with a Python function.", "asks_code"),
        ("Give me ideas for dinner.", "asks_list"),
        ("Answer yes or no.", "asks_brevity"),
        ("Go through it step by step.", "asks_detail"),
        ("How do magnets work?", "asks_explanation"),
        ("Translate it into French.", "asks_to_transform"),
        ("Summarize the article.", "asks_to_condense"),
        ("A recipe with leeks, please.", "asks_procedure"),
        ("Solve 3x + 10 = 5.", "asks_solution"),
        ("Act as a travel guide.", "asks_role"),
        ("Who wrote Hamlet?", "asks_a_fact"),
        ("Fix this:\nteh cat", "given_text"),
        ("お茶の歴史についてのエッセイを書いてください。", "asks_long_text"),
        ("お茶の歴史についてのエッセイを書いてください。", "asks_to_write"),
        ("店の名前に合う見出しを。", "asks_short_text"),
        ("クイックソートを実装して。", "asks_code"),
        ("理由を挙げてください。", "asks_list"),
        ("簡潔に答えて。", "asks_brevity"),
        ("詳しく述べよ。", "asks_detail"),
        ("両者の違いは?", "asks_explanation"),
        ("英語に翻訳して。", "asks_to_transform"),
        ("次の文章を要約して。", "asks_to_condense"),
        ("肉じゃがの作り方", "asks_procedure"),
        ("方程式を解いて。", "asks_solution"),
        ("あなたは医師です。", "asks_role"),
        ("日本の首都はどこ?", "asks_a_fact"),
    ],
)  # fmt: skip
def test_what_is_asked(text: str, cue: str) -> None:
    assert of(text)[cue] > 0


def test_a_greeting_asks_for_nothing() -> None:
    assert of("Good morning!") == {}
    assert of("おはようございます") == {}
    assert of("") == {}


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Explain it in 3 sentences.", 75),
        ("Explain it in three short sentences.", 75),
        ("A 500-word essay.", 650),
        ("List 10 facts, one sentence each.", 300),
        ("三文で説明して。", 90),
        ("400字以内で。", 400),
        ("理由を５つ。", 200),
    ],
)
def test_an_amount_is_read_as_about_so_many_tokens(text: str, tokens: int) -> None:
    assert of(text)["asks_amount"] == 1
    assert asked(text) == tokens


def test_a_number_of_anything_else_is_no_amount() -> None:
    assert "asks_amount" not in of("There were 300 people in 1984, and 5 of them sang.")


def test_capitals_and_the_place_in_the_text_do_not_matter() -> None:
    assert of("SUMMARIZE THE ARTICLE") == of("summarize the article")
    long = "word. " * 5_000
    assert of(long + "Summarize it.")["asks_to_condense"] > 0
    assert of("Summarize it. " + long)["asks_to_condense"] > 0


def test_the_middle_of_a_long_text_is_not_what_is_asked() -> None:
    far = "x " * WINDOW
    assert of(f"{far} summarize {far}") == of(f"{far} {far}")


@given(st.text(max_size=300))
@example("１２３文字")
@example("²words ²文")
@example("99999 pages")
def test_every_value_is_finite_and_bounded(text: str) -> None:
    found = request_kind_features(text)
    assert len(found) == len(REQUEST_KIND_FEATURES)
    assert all(0 <= value < 20 for value in found)


@pytest.mark.parametrize("text", ["\n" * 10**6, "1" * 10**6, "one " * 10**5, '"' * 10**6])
def test_of_a_long_text_only_the_ends_are_read(text: str) -> None:
    assert request_kind_features(text) == request_kind_features(head_and_tail(text, WINDOW))
    assert len(head_and_tail(text, WINDOW)) == 2 * WINDOW + 1
