"""A pattern with marks answers as the pattern alone does."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.classifier.features import answer_size, question_form, request_kind, text_amount
from router.classifier.features.marked_pattern import MarkedPattern, has_any, shortest

EVERY = {
    f"{module.__name__.rpartition('.')[2]}.{name}": one
    for module in (answer_size, question_form, request_kind, text_amount)
    for name, one in vars(module).items()
    if isinstance(one, MarkedPattern)
}


@pytest.mark.parametrize("pattern", EVERY.values(), ids=EVERY.keys())
@settings(max_examples=300)
@given(data=st.data())
def test_whatever_a_pattern_matches_has_one_of_its_marks(
    pattern: MarkedPattern, data: st.DataObject
) -> None:
    # A space, because some of them stand only behind one.
    found = pattern.pattern.search(" " + data.draw(st.from_regex(pattern.pattern)))
    assert found is None or has_any(pattern.marks, found[0])


@pytest.mark.parametrize("pattern", EVERY.values(), ids=EVERY.keys())
@given(text=st.text())
def test_marks_change_no_answer(pattern: MarkedPattern, text: str) -> None:
    for some in (text, " ".join([text, *pattern.marks])):
        assert pattern.count(some) == len(pattern.pattern.findall(some))
        assert pattern.occurs(some) == bool(pattern.pattern.search(some))
        assert [each.span() for each in pattern.matches(some)] == [
            each.span() for each in pattern.pattern.finditer(some)
        ]


def test_a_text_without_a_mark_is_not_searched() -> None:
    pattern = MarkedPattern(r"\bwords?\b", "word")
    assert (pattern.count("no such thing"), pattern.count("a word, two words, a sword")) == (0, 2)
    assert not pattern.occurs("a sword")


@pytest.mark.parametrize("unit", [*text_amount.UNITS, *request_kind._UNITS])
def test_every_unit_has_a_mark(unit: str) -> None:
    for pattern in (text_amount.UNIT, request_kind._AMOUNT):
        for text in (f"in 3 {unit}", f"3{unit}以内"):
            assert pattern.count(text) == len(pattern.pattern.findall(text))


def test_of_words_that_contain_each_other_the_shortest_are_left() -> None:
    assert shortest(["words", "word", "sentence", "sword", "字", "文字"]) == (
        "sentence",
        "word",
        "字",
    )
