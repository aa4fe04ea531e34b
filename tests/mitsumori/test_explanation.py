"""The words of an explanation: bounds that stay true when they are rounded, and what a newer server says."""

from __future__ import annotations

from dataclasses import fields

import pytest

from mitsumori import Explanation, InvalidArgument
from mitsumori.explanation import LANGUAGES, Language, figures, outcome, phrases_of
from mitsumori.explanation_phrases import ENGLISH, JAPANESE, Phrases
from mitsumori.money import money_of
from mitsumori.v1 import explanation_pb2
from mitsumori.v1.explanation_pb2 import Change, ChangeValue, ExplainedModel, Loss


def told(change: Change, language: Language = "en") -> str:
    """The sentence about one change of a model that took part."""
    model = ExplainedModel(model="m", place=2, examined=True, changes=[change])
    model.loss.criterion = explanation_pb2.CRITERION_OTHER
    model.loss.to = "other"
    return Explanation(explanation_pb2.Explanation()).of_model(model, language).split(". ", 1)[-1]


def money(lever: str, value: int, now: int, *, rises: bool) -> Change:
    return Change(
        lever=lever,
        rises=rises,
        value=ChangeValue(money=money_of(value)),
        now=ChangeValue(money=money_of(now)),
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        # A least value is rounded up, a most value down.
        (money("LEVER_MISS_COST", 12_340_001, 5_000_000, rises=True), "at least $0.0124 (now $0.00500)"),
        (money("LEVER_MISS_COST", 12_349_999, 50_000_000, rises=False), "at most $0.0123 (now $0.0500)"),
        (money("LEVER_PRICE", 1_239_999, 1_500_000, rises=False), "at most $0.00123 (now $0.00150)"),
        # As many digits as it takes to tell it from what is now.
        (money("LEVER_PRICE", 1_239_999, 1_240_001, rises=False), "at most $0.00123 (now $0.00124)"),
        (money("LEVER_MAX_PRICE", 1_240_002, 1_240_001, rises=True), "$0.00125 (now $0.00124)"),
        (money("LEVER_MAX_PRICE", 2_000_000_002, 2_000_000_001, rises=True), "$2.01 (now $2.00)"),
        (money("LEVER_MAX_PRICE", 1_234_567_890_000, 1, rises=True), "$1,234.57 (now $0.000000001)"),
        (money("LEVER_MISS_COST", 5, 0, rises=True), "$0.000000005 (now $0.00)"),
    ],
)  # fmt: skip
def test_a_bound_of_money_stays_true(change: Change, sentence: str) -> None:
    assert told(change).endswith(f"{sentence}.")


@pytest.mark.parametrize(
    ("value", "now", "rises", "sentence"),
    [
        (0.870001, 0.81, True, "0.871 (now 0.81)"),
        (0.87, 0.81, True, "0.87 (now 0.81)"),
        (0.5, 0.4999996, True, "0.50 (now 0.4999996)"),
        (0.123456, 0.9, False, "0.123 (now 0.90)"),
        (1.0, 0.9999, True, "1.00 (now 0.9999)"),
    ],
)
def test_a_bound_of_probability_stays_true(
    value: float, now: float, rises: bool, sentence: str
) -> None:
    change = Change(
        lever="LEVER_QUALITY_TARGET",
        rises=rises,
        value=ChangeValue(probability=value),
        now=ChangeValue(probability=now),
    )
    assert told(change).endswith(f"{sentence}.")


def test_seconds_and_the_units_of_limits_have_words() -> None:
    bound = Change(lever="LEVER_MAX_LATENCY", rises=True)
    bound.value.seconds, bound.now.seconds = 2.3456, 1.5
    assert (
        told(bound) == "It would be the choice with max_latency of at least 2.346 s (now 1.50 s)."
    )
    assert told(bound, "ja").endswith(
        "max_latency が 2.346 秒以上（現在 1.50 秒）であれば、選ばれます。"
    )
    for field, english, japanese in (
        ("tokens", "12,000 tokens", "12,000 トークン"),
        ("requests", "12,000 requests", "12,000 件"),
        ("concurrent", "12,000 requests at once", "同時に 12,000 件"),
    ):
        room = Change(lever="LEVER_LIMIT", name="tpm", rises=True)
        setattr(room.value, field, 12_000)
        setattr(room.now, field, 60_000)
        assert told(room) == f"It would be the choice with {english} more under limit tpm."
        assert f"利用枠 tpm の不足分（{japanese}）を補った状態であれば、" in told(room, "ja")
    room = money("LEVER_LIMIT", 2_000_000, 2_000_000, rises=True)
    assert told(room).startswith("It would be the choice with $0.00200 more under limit")
    room.name = "task run-7"
    assert told(room) == "It would be the choice with $0.00200 more under the cap of task run-7."
    assert "task run-7 の上限の不足分（$0.00200）を補った状態であれば、" in told(room, "ja")


def test_a_region_that_is_not_known_is_no_region_to_allow() -> None:
    change = Change(lever="LEVER_REGIONS", rises=True)
    assert told(change) == "It would be the choice with no demand for a region."
    assert told(change, "ja").endswith("リージョンを指定しない設定であれば、選ばれます。")


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_only_a_newer_server_says_is_told_as_not_known(language: Language) -> None:
    words = phrases_of(language)
    change = Change()
    change.lever = 99  # type: ignore[assignment]
    assert words.unknown.format(name="99") in told(change, language)
    message = explanation_pb2.Explanation(models=[ExplainedModel(model="m", place=1)])
    message.gaps.append(99)  # type: ignore[arg-type]
    assert Explanation(message).notes(language) == (words.unknown.format(name="99"),)
    left = ExplainedModel(model="m", exclusion="too_modern")
    assert words.unknown.format(name="too_modern") in outcome(left, words)
    lost = ExplainedModel(model="m", place=2, loss=Loss(to="other"))
    lost.loss.criterion = 99  # type: ignore[assignment]
    assert "other" in Explanation(message).of_model(lost, language)


def test_what_was_not_looked_for_is_not_denied() -> None:
    message = Explanation(explanation_pb2.Explanation())
    far = ExplainedModel(model="m", place=40, loss=Loss(to="other", criterion="CRITERION_SURPLUS"))
    assert message.of_model(far).endswith("what would have to change was not looked for.")
    assert message.of_model(ExplainedModel(model="m", exclusion="no_price")) == ""
    near = ExplainedModel(
        model="m", place=2, examined=True, loss=Loss(to="other", criterion="CRITERION_SURPLUS")
    )
    assert message.of_model(near).endswith("No single change would make it the choice.")


def test_what_is_not_known_of_a_model_is_a_dash() -> None:
    assert figures(ExplainedModel(model="m", exclusion="unhealthy")) == ("–", "–", "–", "–")


def test_both_languages_have_the_same_words() -> None:
    for field in fields(Phrases):
        english, japanese = getattr(ENGLISH, field.name), getattr(JAPANESE, field.name)
        if isinstance(english, str):
            english, japanese = {"": english}, {"": japanese}
        if isinstance(english, tuple):
            assert len(english) == len(japanese)
            continue
        assert english.keys() == japanese.keys()
        for name, phrase in english.items():
            assert placeholders(phrase) >= placeholders(japanese[name]) - {"model"}, (
                field.name,
                name,
            )


def placeholders(phrase: str) -> set[str]:
    from string import Formatter

    return {name for _, name, _, _ in Formatter().parse(phrase) if name}


def test_every_value_of_the_protocol_has_words() -> None:
    def names(kind: object, prefix: str) -> set[str]:
        found = {name.removeprefix(prefix) for name in kind.DESCRIPTOR.values_by_name}  # type: ignore[attr-defined]
        return found - {"UNSPECIFIED"}

    for words in LANGUAGES.values():
        assert set(words.changes) == names(explanation_pb2.Lever, "LEVER_")
        assert set(words.losses) == names(explanation_pb2.Criterion, "CRITERION_")
        assert set(words.gaps) == names(explanation_pb2.ExplanationGap, "EXPLANATION_GAP_")
        assert set(words.lowered) <= set(words.changes)


def test_a_language_that_is_not_told_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="language: must be one of en, ja"):
        phrases_of("de")
