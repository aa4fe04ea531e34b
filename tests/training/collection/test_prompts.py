"""The prompts of a collection: every form that companies have them in, and bad rows by number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from router.core.errors import InvalidInput
from router.core.types import Message
from router.routing.router import Router
from tests.router.decision_log.builders import exported
from tests.training.commands.test_import_command import jsonl, table
from tests.training.histories.log_import.test_decisions import ledger_of
from training.collection.prompts import SourcePrompt, read_prompts, sampled

CHAT = [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi."},
    {"role": "user", "content": [{"type": "text", "text": "Why is the sky blue?"}]},
]


def read(path: Path, **options: Any) -> list[SourcePrompt]:
    return read_prompts(str(path), **options).prompts


def test_lines_are_texts_or_objects_as_quote_reads_them(tmp_path: Path) -> None:
    found = read(jsonl(tmp_path / "p.jsonl", ["Hello", {"prompt": "Good day"}, {"messages": CHAT}]))
    assert [one.messages for one in found[:2]] == [
        (Message("user", "Hello"),),
        (Message("user", "Good day"),),
    ]
    # Instructions of developers are system messages, and a greeting is no part of the task in hand.
    assert [one.role for one in found[2].messages] == ["system", "user", "assistant", "user"]
    assert found[2].text == "Why is the sky blue?"


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl", ".parquet"])
def test_every_kind_of_file_gives_the_same_prompts(suffix: str, tmp_path: Path) -> None:
    rows = [
        {
            "prompt_id": "a",
            "prompt": "一つ目",
            "messages": None,
            "reference": "答え",
            "category": "jp",
        },
        {"prompt_id": "b", "prompt": None, "messages": CHAT, "reference": None, "category": "en"},
    ]
    found = read(table(tmp_path / f"p{suffix}", rows))
    assert [(one.id, one.messages[-1].text) for one in found] == [
        ("a", "一つ目"),
        ("b", "Why is the sky blue?"),
    ]
    assert [one.beside for one in found] == [
        {"reference": "答え", "category": "jp"},
        {"category": "en"},
    ]


def test_a_history_gives_each_of_its_prompts_once(tmp_path: Path) -> None:
    rows = [{"prompt": f"Q{n}", "model": model} for n in range(3) for model in "ab"]
    found = read_prompts(str(jsonl(tmp_path / "h.jsonl", rows)))
    assert ([one.text for one in found.prompts], found.repeats) == (["Q0", "Q1", "Q2"], 3)


def test_a_chat_with_another_system_message_is_another_prompt(tmp_path: Path) -> None:
    rows = [{"messages": [{"role": "system", "content": s}, CHAT[1]]} for s in ("Brief.", "Long.")]
    found = read(jsonl(tmp_path / "p.jsonl", rows))
    assert len({one.id for one in found}) == 2


def test_a_decision_log_gives_the_prompts_that_it_kept(router: Router, tmp_path: Path) -> None:
    made = ledger_of(router, tmp_path, "text")
    log = exported(made, tmp_path / "log.jsonl")
    made.close()
    of_file, of_ledger = read(log), read(Path(f"sqlite:{tmp_path}/ledger.sqlite"))
    assert of_file == of_ledger
    assert len(of_file) == 12


def test_a_decision_log_without_prompts_says_what_to_set(router: Router, tmp_path: Path) -> None:
    made = ledger_of(router, tmp_path, "hash", 3)
    log = exported(made, tmp_path / "log.jsonl")
    made.close()
    with pytest.raises(InvalidInput, match="3: nothing of the prompt was kept; set log_prompts to"):
        read(log)


BAD = [
    ({"prompt": " "}, "prompt: is missing"),
    ({"text": "x"}, "prompt: is missing"),
    ({"prompt": 7}, "prompt: is missing"),
    (7, "row: is not a JSON object"),
    ({"messages": []}, "messages: is no list"),
    ({"messages": "canary"}, "messages: is no list"),
    ({"messages": ["canary"]}, "messages: has a turn that is not of"),
    ({"messages": [{"role": "tool", "content": "canary"}]}, "messages: has a turn that is not of"),
    ({"messages": [CHAT[1], CHAT[2]]}, "messages: its last turn is not a question"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "canary"}]}]},
     "messages: has a turn that is not text"),
    ({"messages": [{"role": "user", "content": None}]}, "messages: has a turn that is not text"),
    ({"prompt": "canary \ud800"}, "prompt: holds half of a surrogate pair"),
    ({"prompt": "canary", "max_output_tokens": 0}, "max_output_tokens: is not a whole number"),
    ({"prompt": "canary", "prompt_id": "known"}, "prompt_id: stands for another prompt"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "words"), BAD)
def test_a_bad_row_is_named_by_its_number_without_its_text(
    row: object, words: str, tmp_path: Path
) -> None:
    path = jsonl(tmp_path / "p.jsonl", [{"prompt": "sound", "prompt_id": "known"}, row])
    with pytest.raises(InvalidInput) as caught:
        read(path)
    assert f"row 2: {words}" in caught.value.message
    assert "canary" not in caught.value.message.replace(str(tmp_path), "")
    assert "\n" not in caught.value.message
    left = read_prompts(str(path), skip_bad_rows=True)
    assert ([one.text for one in left.prompts], len(left.bad)) == (["sound"], 1)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    for name, content in (
        ("p.txt", b"x"),
        ("p.parquet", b"PAR1x"),
        ("p.jsonl", b""),
        ("p.csv", b"\xff"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InvalidInput):
            read(tmp_path / name)
    with pytest.raises(InvalidInput, match="there is no file"):
        read(tmp_path / "absent.jsonl")


def test_a_larger_sample_begins_with_the_smaller_one(tmp_path: Path) -> None:
    prompts = read(jsonl(tmp_path / "p.jsonl", [f"Q{n}" for n in range(40)]))
    small, large = sampled(prompts, 5, 1), sampled(prompts, 9, 1)
    assert large[:5] == small
    assert sampled(prompts[::-1], 5, 1) == small
    assert sampled(prompts, 5, 2) != small
    assert sorted(one.id for one in sampled(prompts, None, 1)) == sorted(one.id for one in prompts)


def test_a_limit_of_its_own_goes_with_a_prompt(tmp_path: Path) -> None:
    rows = [
        {"prompt": "a", "max_output_tokens": 9},
        {"prompt": "b", "max_output_tokens": "12"},
        "c",
    ]
    found = read(jsonl(tmp_path / "p.jsonl", rows))
    assert [one.max_output_tokens for one in found] == [9, 12, None]
    assert [one.text for one in found] == ["a", "b", "c"]


def test_json_text_in_a_prompt_is_a_prompt(tmp_path: Path) -> None:
    text = json.dumps(CHAT)
    (found,) = read(jsonl(tmp_path / "p.jsonl", [{"prompt": text}]))
    assert found.text == text
