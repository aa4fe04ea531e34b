from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from random import Random

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from router.catalog.tokens import TokenCounter, TokenRule, is_exact, prepare_ranks, scaled
from router.core.errors import BadArtifact
from router.core.types import Message, Prompt, TokenCount


@pytest.fixture(scope="module")
def counter() -> TokenCounter:
    return TokenCounter()


@pytest.mark.parametrize(
    ("text", "o200k", "cl100k"),
    [
        ("hello world", 2, 2),
        ("", 0, 0),
        ("日本語のトークンを数える", 9, 13),
        ("<|endoftext|>", 7, 7),
    ],
)
def test_golden_counts(counter: TokenCounter, text: str, o200k: int, cl100k: int) -> None:
    assert counter.text_tokens(text, "o200k_base") == TokenCount(o200k, True, len(text.encode()))
    assert counter.text_tokens(text, "cl100k_base") == TokenCount(cl100k, True, len(text.encode()))


def test_a_chat_costs_its_format_too(counter: TokenCounter) -> None:
    prompt = Prompt((Message("system", "hello world"), Message("user", "hello world")))
    assert counter.count(prompt, "o200k_base").tokens == 3 + 2 * (4 + 2)


@pytest.mark.parametrize(
    "unit", ["one two three. ", "line of words\n", "x = 3; y = 14\n", "Ω ≠ ω "]
)
def test_counting_in_pieces_is_exact_where_there_are_words(
    counter: TokenCounter, unit: str
) -> None:
    text = unit * 3000
    whole = len(tiktoken.get_encoding("o200k_base").encode_ordinary(text))
    assert counter.text_tokens(text) == TokenCount(whole, True, len(text.encode()))


@settings(max_examples=30)
@given(st.integers(0, 2**32))
def test_pieces_never_change_an_exact_count(seed: int) -> None:
    parts = ["word", "  ", "\n", "\n\n", ", ", "42", " 7", "'s", "/", "語", "\t"]
    text = "".join(Random(seed).choices(parts, k=8000))
    count = TokenCounter().text_tokens(text)
    if count.exact:
        assert count.tokens == len(tiktoken.get_encoding("o200k_base").encode_ordinary(text))


@pytest.mark.parametrize(
    "text", [" " * 1_000_000 + "a", "a" * 1_000_000, "\u0301" * 500_000, "\0" * 100]
)
def test_what_makes_tiktoken_panic_or_crawl_is_counted(counter: TokenCounter, text: str) -> None:
    assert counter.text_tokens(text).tokens > 0


def test_a_family_without_a_tokenizer_is_scaled_up_and_flagged() -> None:
    rule = TokenRule("o200k_base", Decimal("1.2"))
    count = TokenCount(101, True, worst=400)
    assert scaled(count, rule, exact=is_exact("claude", rule)) == TokenCount(122, False, 400)
    assert scaled(TokenCount(0, True, 0), rule, exact=False) == TokenCount(1, False, 1)


def test_only_an_exact_count_is_its_own_worst_case(counter: TokenCounter) -> None:
    prompt = Prompt((Message("user", "日本語のトークン"),))
    counted = counter.count(prompt, "o200k_base")
    own, foreign = TokenRule("o200k_base"), TokenRule("o200k_base", Decimal("1.2"))
    assert scaled(counted, own, exact=True).worst == counted.tokens
    # Three bytes a character, and the format of the chat.
    assert scaled(counted, foreign, exact=False).worst == 3 * 8 + 3 + 4


def test_damaged_rank_files_are_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")  # prepare_ranks sets it; put back after the test
    prepare_ranks(tmp_path)
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == [
        "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
        "fb374d419588a4632f3f557e76b4b70aebbca790",
    ]
    sound = files[0].read_bytes()
    files[0].write_bytes(b"damaged")
    prepare_ranks(tmp_path)
    assert files[0].read_bytes() == sound


def test_a_folder_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")
    occupied = tmp_path / "file"
    occupied.write_text("")
    with pytest.raises(BadArtifact, match="tokenizer_dir"):
        prepare_ranks(occupied / "below")
