"""An answer that gives a text back is at least as long as the text, whatever a classifier predicts."""

from __future__ import annotations

import math

import pytest

from router.classifier.bundle import load_bundle
from router.classifier.features.asked_length import asked_length
from router.classifier.features.work_size import data_tokens
from router.paths import ENCODERS, MODELS

ROWS = "\n".join(f"{row},name{row},{row * 3}" for row in range(300))
TREE = '[{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]' * 100
CODE = "\n".join(f"def f{row}(a, b):\n    return a * {row} + b" for row in range(200))
FENCED = f"```python\n{CODE}\n```"
PROSE = "Anna met Bob in Paris. " * 500
JAPANESE = "委員会は五月に開かれた。予算を見直すことが決まった。" * 100


@pytest.mark.parametrize("name", ["static", "multilingual"])
@pytest.mark.parametrize(
    ("instruction", "given", "needed"),
    [
        # Needed tokens as a tokenizer of today counts them.
        ("Convert this CSV to JSON:", ROWS, 5_701),
        ("Format this data as a Markdown table:", ROWS, 3_000),
        (
            "Add a column with the square of the first column and return the full CSV:",
            ROWS,
            1_799,
        ),
        ("Add docstrings to every function and return the whole file:", FENCED, 3_204),
        ("Return the full corrected file:", FENCED, 3_204),
        (
            "Replace all names by X in the text below and give me the complete text.\n",
            PROSE,
            3_000,
        ),
        ("Anonymise the following text:\n", PROSE, 3_000),
        ("Repeat the following exactly:", "The quick brown fox. " * 400, 2_000),
    ],
)
def test_a_quote_covers_the_text_that_is_certainly_written(
    instruction: str, given: str, needed: float, name: str
) -> None:
    scored = load_bundle(MODELS / "bundles" / name, ENCODERS)
    for quoted in scored.score(f"{instruction}\n{given}").lengths.values():
        assert quoted.p50 >= 0.85 * needed
        assert quoted.p90 >= needed


@pytest.mark.parametrize(
    ("instruction", "given", "factor"),
    [
        ("Turn the following data into a Markdown table.", ROWS, 1.3),
        ("Convert to YAML:", ROWS, 1.6),
        ("Wandle diese CSV in JSON um:", ROWS, 2.4),
        ("Convertis ce CSV en JSON :", ROWS, 2.4),
        ("Convierte este CSV a JSON:", ROWS, 2.4),
        ("次のCSVをJSONに変換してください。", ROWS, 2.4),
        ("以下のデータを表にしてください。", ROWS, 1.3),
        ("把下面的CSV转换成JSON：", ROWS, 2.4),
        ("列を追加してCSV全体を出力してください。", ROWS, 1.05),
        ("Sort this list alphabetically:", ROWS, 0.85),
        ("Convert this JSON to CSV:", TREE, 0.25),
        ("すべての関数にdocstringを追加してください。", CODE, 1.3),
        ("Add type hints and return the complete code:", CODE, 1.0),
    ],
)
def test_data_and_programs_are_counted_by_their_signs(
    instruction: str, given: str, factor: float
) -> None:
    asked = asked_length(f"{instruction}\n{given}")
    tokens = data_tokens(given[:600].lower(), len(given))
    assert asked.least == pytest.approx(factor * tokens, rel=0.12)
    assert asked.least < asked.middle < asked.most < math.inf


@pytest.mark.parametrize(
    ("instruction", "least"),
    [
        ("次の文章をそのまま繰り返してください。", 0.9),
        ("次の文章を匿名化してください。", 0.9),
        ("「委員会」を「評議会」に置き換えてください。", 0.9),
    ],
)
def test_a_japanese_text_is_given_back(instruction: str, least: float) -> None:
    asked = asked_length(f"{instruction}\n{JAPANESE}")
    assert asked.least == pytest.approx(least * 0.75 * len(JAPANESE), rel=0.1)
    assert asked.most < math.inf


@pytest.mark.parametrize("mark", [" ", "\n", "\n\n"])
def test_a_copy_is_as_long_whatever_separates_it_from_the_request(mark: str) -> None:
    least = asked_length(f"Repeat the following exactly:{mark}{PROSE}").least
    assert least == pytest.approx(asked_length(f"Repeat exactly:\n{PROSE}").least, rel=0.01)


@pytest.mark.parametrize(
    ("instruction", "given"),
    [
        ("Convert this CSV to JSON and explain the schema:", ROWS),
        ("Convert this CSV to JSON and write a long essay about it:", ROWS),
        ("Export this to JSON. Then write a report on it.", ROWS),
        ("Port this to Go:", FENCED),
        ("Translate each line to Spanish:", PROSE),
    ],
)
def test_what_comes_besides_lifts_the_greatest_length_only(instruction: str, given: str) -> None:
    asked = asked_length(f"{instruction}\n{given}")
    assert asked.least > 0
    assert asked.most == math.inf


@pytest.mark.parametrize(
    ("instruction", "given"),
    [
        ("Write a Python script to convert this CSV to JSON:", ROWS),
        ("How do I convert this CSV to JSON?", ROWS),
        ("Convert this CSV to JSON with pandas:", ROWS),
        ("Convert this CSV to a chart description:", ROWS),
        ("Convert this into a JSON schema:", TREE),
        ("Summarise this CSV as a table:", ROWS),
        ("Which tool converts this CSV to JSON?", ROWS),
        ("Turn this data into a detailed report with an HTML page:", ROWS),
        ("Add a column? What would you add to this data:", ROWS),
        ("Sort out this mess:", PROSE),
        ("Return the full list of errors in this file:", CODE),
        ("Show me the complete code for a server like this:", CODE),
        ("Find the bug:", CODE),
        ("Fix the bug and tell me why it happened:", CODE),
        ("Repeat after me:", PROSE),
        ("Repeat exactly 3 times:", PROSE),
        ("Repeat the analysis for the following text:", PROSE),
        ("Copy editing tips for the following:", PROSE),
        ("Replace this text with something better:", PROSE),
        ("Replace the introduction with a full new story:", PROSE),
        ("Format this as a blog post:", PROSE),
        ("Format my notes as a table:", PROSE),
        ("Translate this into a table of pros and cons:", PROSE),
        ("Add a comment about the risks:", PROSE),
        ("次のCSVをJSONに変換するコードを書いてください。", ROWS),
        ("この表をもとにレポートを作成してください。", ROWS),
        ("並べ替えアルゴリズムを実装して。", ROWS),
        ("全体を要約してください。", JAPANESE),
        ("この文章をそのまま使って物語を書いて。", JAPANESE),
        ("Convert this CSV to JSON:\n\nRules:\n- one object per year, with all months.", ROWS),
    ],
)
def test_another_request_about_a_text_is_bounded_by_nothing(instruction: str, given: str) -> None:
    asked = asked_length(f"{instruction}\n{given}")
    assert (asked.least, asked.middle, asked.most) == (0, math.inf, math.inf)
