"""Numbers in a text are looked for only near a sign of one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.classifier.features.figure import _LATIN_FIGURE, latin_figures

PARTS = (
    "half a", "a", "a couple of", "a couple", "a few", "several", "hundred", "thousand", "million", "billion",
    "dozen", "one", "two", "seven", "twenty", "ninety", "and", "money", "2,000", "1 500", "2.5k", "10^6",
    "1e6", "3", "k", " ", "-", ".", ",", "²", "٣", "_", "é", "\n", "'",
)  # fmt: skip


@given(st.lists(st.sampled_from(PARTS), max_size=12), st.sampled_from(["", " ", "-"]))
def test_they_are_those_of_a_search_of_the_whole_text(parts: list[str], joint: str) -> None:
    text = joint.join(parts)
    plain = [(*found.span(), found[0]) for found in _LATIN_FIGURE.finditer(text)]
    assert [tuple(figure) for figure in latin_figures(text)] == plain


def test_a_number_may_begin_long_before_its_sign() -> None:
    text = "we need a couple of million, or half a billion, or several dozen"
    assert [figure.text for figure in latin_figures(text)] == [
        "a couple of million", "half a billion", "several dozen",
    ]  # fmt: skip
    assert latin_figures("a couple of friends, a few books") == []
