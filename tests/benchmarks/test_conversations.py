"""The dialogues are sound and unseen by training, and the figures are about what their names say."""

from __future__ import annotations

from collections import Counter

from benchmarks.conversations import (
    DIALOGUES,
    LOOKED_AT,
    Judge,
    last,
    read_dialogues,
    turn_figures,
    whole,
)
from router.classifier.task_in_hand import task_in_hand
from router.core.types import Message, Prompt
from router.paths import MODELS
from router.rpc.assembly import build_router
from router.settings import Settings
from tests.benchmarks.test_everyday import key
from training.requests.request_set import read_requests

TURNS = read_dialogues()


def test_there_are_at_least_a_hundred_dialogues_half_of_them_japanese() -> None:
    lines = [
        line
        for path in DIALOGUES.glob("*.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    japanese = sum('"language": "ja"' in line for line in lines)
    assert len(lines) >= 100
    assert 2 * japanese == len(lines)


def test_every_set_has_every_kind_of_turn_and_every_level_in_both_languages() -> None:
    assert {one.set for one in TURNS} == {*LOOKED_AT, "d"}
    for name in (*LOOKED_AT, "d"):
        for language in ("en", "ja"):
            mine = [one for one in TURNS if (one.set, one.language) == (name, language)]
            kinds, levels = Counter(one.kind for one in mine), {one.level for one in mine}
            assert min(kinds[kind] for kind in ("task", "follow_up", "closing", "greeting")) >= 1
            assert levels == {0, 1, 2, 3}


def test_no_task_is_among_the_annotated_requests() -> None:
    tasks = {key(one.task) for one in TURNS if one.kind == "task"}
    assert tasks & {key(request.prompt) for request in read_requests()} == set()


def test_a_chat_in_a_tool_loop_ends_with_what_a_tool_returned() -> None:
    loops = [one.prompt.messages for one in TURNS if one.prompt.messages[-1].role == "tool"]
    assert len(loops) >= 4
    assert all(
        messages[-1].role in ("user", "tool") for messages in (one.prompt.messages for one in TURNS)
    )


def test_baselines_read_the_conversation_and_the_last_message() -> None:
    said = (("system", "a"), ("user", "b"), ("assistant", "c"), ("user", "d"))
    chat = Prompt(tuple(Message(*one) for one in said))
    assert [one.text for one in whole(chat).messages] == ["b\n\nc\n\nd"]
    assert [one.text for one in last(chat).messages] == ["d"]


def test_nine_in_ten_messages_of_every_set_are_about_their_task() -> None:
    for name in (*LOOKED_AT, "d"):
        mine = [one for one in TURNS if one.set == name and one.kind == "follow_up"]
        right = [
            any(reading.startswith(one.task) for reading in task_in_hand(one.prompt).readings)
            for one in mine
        ]
        assert sum(right) >= 0.9 * len(mine), name


def test_follow_ups_of_a_set_are_judged_as_hard_as_their_task() -> None:
    router = build_router(Settings(bundle=MODELS / "bundles" / "static"))
    some = [one for one in TURNS if one.set == "a" and one.language == "ja"]
    figures = {one.name: one for one in turn_figures("", Judge(router), some)}
    (follow_ups,) = [one for name, one in figures.items() if "in the third of their task" in name]
    assert follow_ups.holds
