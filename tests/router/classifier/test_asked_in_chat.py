"""Which message of a chat says how long the answer shall be."""

from __future__ import annotations

import math

import pytest

from router.classifier.features.asked_length import asked_by, asked_length
from router.core.asked_length import AskedLength
from router.core.types import Message, Prompt


def test_only_the_last_message_of_the_user_asks() -> None:
    turns = (
        Message("system", "Answer in one word."),
        Message("user", "What is DNS? One sentence."),
        Message("assistant", "A directory of names."),
        Message("user", "Explain it in at most 50 words."),
    )
    assert asked_by(Prompt(turns)) == asked_length("Explain it in at most 50 words.")
    assert asked_by(Prompt(turns[:1])) == asked_length("Answer in one word.")


def _asked_in_chat(system: str, user: str = "Tell me about the history of tea.") -> AskedLength:
    return asked_by(Prompt((Message("system", system), Message("user", user))))


@pytest.mark.parametrize(
    ("system", "middle"),
    [
        ("Answer in at most 20 words.", 26),
        ("You are a support agent. Responses must not exceed 100 words. Be polite.", 130),
        ("Reply in one sentence.", 1.1 * 28 + 10),
        ("回答は50字以内にしてください。", 45),
        ("Antworte in höchstens 20 Wörtern.", 36),
        ("Réponds en 50 mots maximum.", 80),
        ("Responda em no máximo 40 palavras.", 64),
        ("Отвечай не более чем в 40 словах.", 80),
        ("请用不超过50个字回答。", 45),
    ],
)
def test_a_limit_of_the_system_message_binds_every_answer(system: str, middle: float) -> None:
    assert _asked_in_chat(system).middle == pytest.approx(middle)


def test_the_least_of_several_system_messages_holds_whatever_their_order() -> None:
    systems = [Message("system", f"Answer in at most {words} words.") for words in (50, 20)]
    for some in (systems, systems[::-1]):
        asked = asked_by(Prompt((*some, Message("user", "What is tea?"))))
        assert asked.middle == pytest.approx(26)


@pytest.mark.parametrize(
    "user",
    ["Write a 500-word essay.", "Write at least 300 words.", "Answer yes or no: is tea hot?"],
)
def test_the_length_that_the_user_names_goes_before_the_system_message(user: str) -> None:
    assert _asked_in_chat("Answer in at most 20 words.", user) == asked_length(user)


@pytest.mark.parametrize(
    "system",
    [
        "If asked for a title, answer in at most 10 words.",
        "Answer in at most 20 words unless the user asks for details.",
        "Answer in at most 20 words. If the user asks for details, write as much as needed.",
        "When the user greets you, reply in one sentence.",
        "For greetings, answer in at most 20 words.",
        "The subject line must be at most 10 words. Write complete e-mails.",
        "Each bullet has at most 12 words.",
        "Begin every answer with a summary of at most 20 words.",
        "There is no 50 words limit.",
        "Our chat widget displays at most 50 characters per line.",
        "Answer in at most 20 words, then explain in depth.",
        "Write commit messages of at most 50 characters and full pull request texts.",
        "Answer briefly, but write at least 200 words.",
        "挨拶には20字以内で答えてください。",
        "タイトルは20字以内にしてください。",
        "ユーザーが要約を求めた場合は50字以内で答えてください。",
        "50字以内で答えてください。詳しくと言われた場合は長く書いてください。",
    ],
)
def test_a_limit_of_some_answers_or_of_a_part_binds_none(system: str) -> None:
    assert _asked_in_chat(system).middle == math.inf
