"""What a call used: the endpoint's report, unless it cannot be true."""

from __future__ import annotations

from typing import Any

import pytest

from router.core.types import TokenCount
from training.calls.usage import STOP_TOKENS, TEMPLATE_TOKENS, CallBounds, Usage, usage_of

BOUNDS = CallBounds(TokenCount(72, exact=False, worst=400), limit=500)


def used(reported: object, visible: int = 60, *, exact: bool = False) -> Usage:
    return usage_of(reported, TokenCount(visible, exact, worst=visible), BOUNDS)


def report(given: Any, made: Any, **more: Any) -> dict[str, Any]:
    return {"prompt_tokens": given, "completion_tokens": made, **more}


def test_a_report_that_can_be_true_is_taken() -> None:
    found = used(report(44, 130, completion_tokens_details={"reasoning_tokens": 70},
                        prompt_tokens_details={"cached_tokens": 20}))  # fmt: skip
    assert (found.input_tokens, found.output_tokens, found.reasoning_tokens) == (44, 130, 70)
    assert (found.billed_input, found.billed_output, found.cached_input_tokens) == (44, 130, 20)
    assert (found.doubts, found.over_limit) == ((), False)


@pytest.mark.parametrize(
    ("reported", "doubts"),
    [
        (None, ("input tokens not reported", "output tokens not reported")),
        ({}, ("input tokens not reported", "output tokens not reported")),
        ("many", ("input tokens not reported", "output tokens not reported")),
        (report(-1, -130), ("input tokens negative", "output tokens negative")),
        (report(44, 10**12), ("output tokens above what the call allows",)),
        (report(10**12, 130), ("input tokens above what the call allows",)),
        (report(44, 3), ("output tokens below those of the visible answer",)),
        (report(0, 130), ("input tokens below those of the prompt",)),
        (report("44", 130), ("input tokens not a whole number",)),
        (report(44, 1.5), ("output tokens not a whole number",)),
        (report(44, float("nan")), ("output tokens not a whole number",)),
        (report(True, 130), ("input tokens not a whole number",)),
    ],
)
def test_a_report_that_cannot_be_true_is_told_and_our_count_is_taken(
    reported: object, doubts: tuple[str, ...]
) -> None:
    found = used(reported)
    assert found.doubts == doubts
    of_input = any(doubt.startswith("input") for doubt in doubts)
    of_output = any(doubt.startswith("output") for doubt in doubts)
    # The history gets our count; the budget the most that the provider may bill.
    assert (found.input_tokens, found.billed_input) == ((72, 400) if of_input else (44, 44))
    assert (found.output_tokens, found.billed_output) == ((60, 502) if of_output else (130, 130))


@pytest.mark.parametrize(
    ("made", "visible", "exact", "believed"),
    [(30, 60, False, True), (30, 61, False, True), (29, 60, False, False), (40, 60, True, True),
     (40, 61, True, True), (39, 60, True, False)],
)  # fmt: skip
def test_tokenizers_differ_but_not_without_bounds(
    made: int, visible: int, exact: bool, believed: bool
) -> None:
    assert (not used(report(44, made), visible, exact=exact).doubts) == believed


@pytest.mark.parametrize(("made", "believed"), [(500, True), (502, True), (503, False)])
def test_no_call_makes_more_than_it_allows(made: int, believed: bool) -> None:
    assert (not used(report(44, made)).doubts) == believed


@pytest.mark.parametrize(("given", "believed"), [(9, True), (8, False), (400, True), (401, False)])
def test_input_may_lack_the_chat_format_but_not_the_prompt(given: int, believed: bool) -> None:
    assert (not used(report(given, 130)).doubts) == believed


@pytest.mark.parametrize("cached", [None, -1, 45, "x"])
def test_cached_input_that_is_no_part_of_the_input_is_not_taken(cached: object) -> None:
    found = used(report(44, 130, prompt_tokens_details={"cached_tokens": cached}))
    assert (found.cached_input_tokens, found.doubts) == (0, ())


@pytest.mark.parametrize(("given", "output"), [(-50, 60), (-1, 60), (0, 160)])
def test_a_total_beside_a_negative_part_says_nothing_of_reasoning(given: int, output: int) -> None:
    assert used(report(given, 60, total_tokens=given + 160)).output_tokens == output


def test_reasoning_may_stand_in_both_places() -> None:
    found = used(
        report(44, 60, total_tokens=154, completion_tokens_details={"reasoning_tokens": 80})
    )
    assert (found.output_tokens, found.reasoning_tokens) == (110, 80)


def test_a_single_hidden_token_counts() -> None:
    found = used(
        report(44, 60, total_tokens=105, completion_tokens_details={"reasoning_tokens": 0})
    )
    assert (found.output_tokens, found.reasoning_tokens) == (61, 1)


def test_no_reasoning_is_reported_as_none_of_it() -> None:
    found = used(report(44, 130, completion_tokens_details={"reasoning_tokens": 0}))
    assert (found.reasoning_tokens, found.doubts) == (0, ())


def test_what_is_beyond_our_count_is_bounded() -> None:
    assert (TEMPLATE_TOKENS, STOP_TOKENS) == (256, 2)


def test_parts_may_be_the_whole() -> None:
    found = used(report(44, 130, completion_tokens_details={"reasoning_tokens": 130},
                        prompt_tokens_details={"cached_tokens": 44}), 0)  # fmt: skip
    assert (found.reasoning_tokens, found.cached_input_tokens) == (130, 44)


def test_a_total_that_is_the_sum_says_nothing_of_reasoning() -> None:
    found = used(report(44, 130, total_tokens=174))
    assert (found.output_tokens, found.reasoning_tokens, found.doubts) == (130, None, ())


def test_numbers_beyond_every_range_are_no_crash() -> None:
    assert used(report(10**400, 1e300)).doubts == (
        "input tokens above what the call allows",
        "output tokens above what the call allows",
    )
    assert used(report(float("inf"), "1")).doubts == (
        "input tokens not a whole number",
        "output tokens not a whole number",
    )
    assert used(report(44.0, 130.0)).doubts == ()


def test_hidden_reasoning_that_only_the_total_has_is_output_too() -> None:
    found = used(report(44, 60, total_tokens=44 + 60 + 200))
    assert (found.output_tokens, found.reasoning_tokens) == (260, 200)
    # A total that lies does not change what is believed of the rest.
    assert used(report(44, 60, total_tokens=10**9)).doubts == (
        "output tokens above what the call allows",
    )


@pytest.mark.parametrize("reasoning", [-1, 131, "70", None])
def test_reasoning_that_is_no_part_of_the_output_is_not_written(reasoning: object) -> None:
    found = used(report(44, 130, completion_tokens_details={"reasoning_tokens": reasoning}))
    assert (found.output_tokens, found.reasoning_tokens, found.doubts) == (130, None, ())


def test_a_visible_answer_longer_than_the_call_allows_shows_that_the_limit_was_ignored() -> None:
    found = used(report(44, 1200), 1200)
    assert found.over_limit
    assert found.billed_output == 1200
    # Another tokenizer may make 502 tokens of 1,005, and not of 1,006.
    assert not used(report(44, 1200), 1_005).over_limit
    assert used(report(44, 1200), 1_006).over_limit
    assert used(report(44, 1200), 1_005).billed_output == 502
