"""Answers that are short by their form, and texts whose parts have lengths that add up."""

from __future__ import annotations

import math

import pytest

from router.classifier.bundle import load_bundle
from router.classifier.features.asked_length import asked_length
from router.paths import ENCODERS, MODELS

TWEET, HAIKU, WORD, CLASS = (65, 150), (30, 90), (30, 110), (25, 120)


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("Write a tweet about tea.", TWEET),
        ("Please write a funny tweet on Mondays", TWEET),
        ("Schreibe einen Tweet über Tee.", TWEET),
        ("Écris un tweet sur le thé.", TWEET),
        ("Escribe un tuit sobre el té.", TWEET),
        ("Напиши твит о чае.", TWEET),
        ("お茶についてのツイートを書いてください。", TWEET),
        ("Write a haiku about rain", HAIKU),
        ("秋の俳句を詠んでください。", HAIKU),
        ("How do you spell accommodation?", WORD),
        ("What is the plural of cactus?", WORD),
        ("Wie schreibt man Rhythmus?", WORD),
        ("Comment s'écrit orthographe ?", WORD),
        ("¿Cómo se escribe vaca?", WORD),
        ("「齟齬」の読み方は？", WORD),
        (
            "Is this review positive or negative? 'Battery died after two days, never again.'",
            CLASS,
        ),
        ('Is the following comment positive, negative or neutral? "Nice phone."', CLASS),
        ("What is the sentiment of this review: Battery died.", CLASS),
        ("Ist diese Bewertung positiv oder negativ: Der Akku war leer.", CLASS),
        ("次のレビューはポジティブかネガティブか：バッテリーがすぐ切れた。", CLASS),
    ],
)
@pytest.mark.parametrize("name", ["static", "multilingual"])
def test_a_short_form_bounds_the_answer(text: str, most: tuple[float, float], name: str) -> None:
    asked = asked_length(text)
    assert (asked.middle, asked.most) == most
    scored = load_bundle(MODELS / "bundles" / name, ENCODERS)
    assert all(quoted.p90 <= most[1] for quoted in scored.score(text).lengths.values())


@pytest.mark.parametrize(
    "text",
    [
        "Write a tweet thread about tea.",
        "Write a tweet and a blog post about tea.",
        "Write a tweet classifier in Python.",
        "Write a tweet generator.",
        "Write 5 tweets.",
        "Explain what makes a tweet go viral.",
        "Write an analysis of a tweet about tea.",
        "Write a tweet about tea, an essay on coffee and a poem.",
        "Write a haiku and explain its form.",
        "How do you spell out a budget for a new department?",
        "How do you spell check a document in Word?",
        "How do I pronounce judgement on a case?",
        "Wie schreibt man eine Bewerbung?",
        "¿Cómo se escribe una novela?",
        "Comment s'écrit une lettre de motivation ?",
        "What is the opposite of democracy in Plato's political theory?",
        "What is the spelling reform of 1996?",
        "Is the review positive or negative and why? 'Battery died.'",
        "Is the outlook positive or negative for the euro area?",
        "Are these reviews positive or negative:\n1. Good.\n2. Bad.\n3. So so.\n4. Fine.",
    ],
)
def test_more_than_a_short_form_is_bounded_by_nothing(text: str) -> None:
    assert asked_length(text).most == math.inf


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        (
            "Write a report on tea with an introduction of 50 words, five chapters of 600 words each,"
            " and a conclusion of 100 words.",
            1.3 * 3_150,
        ),
        ("Essay on tea: intro 50 words, five chapters of 600 words each, conclusion 100", 1.3 * 3_150),
        (
            "Write an essay with an introduction (100 words), body (400 words) and conclusion (100 words).",
            1.3 * 600,
        ),
        (
            "Schreibe: Einleitung 50 Wörter, drei Kapitel zu je 300 Wörtern, Schluss 100 Wörter.",
            1.8 * 1_050,
        ),
        ("導入100字、本論800字、結論100字で書いてください。", 0.9 * 1_000),
    ],
)  # fmt: skip
def test_lengths_of_parts_add_up(text: str, whole: float) -> None:
    asked = asked_length(text)
    assert asked.least == pytest.approx(0.7 * whole)
    assert asked.size == pytest.approx(min(whole, 1_000 * (whole / 1_000) ** 0.93))
    assert asked.most == pytest.approx(1.4 * whole + 8)


@pytest.mark.parametrize(
    "text",
    [
        "Write a report with an abstract of 50 words and a conclusion of 100 words.",
        "Write a paper with an introduction of 50 words. The body should be long.",
        "My report has an introduction of 50 words, five chapters of 600 words each. Summarise it.",
        "Write a Python program that writes an intro of 50 words and five chapters of 600 words each.",
        "Write an intro of 50 words, a body of 300 words, then write the full contract.",
        "Summarise chapter 5 and section 12.",
        "Part 1 has 50 words. Part 2 has 100 words. Which is longer?",
        "What do section 230 and part 15 say?",
        "本文は長く、結論は100字で書いて。",
    ],
)
def test_parts_without_the_main_one_say_nothing_of_the_whole(text: str) -> None:
    assert asked_length(text).most == math.inf
